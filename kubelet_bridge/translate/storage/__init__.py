"""Claims to disks, and back: class parameters, sources, DataVolume and PersistentVolume, progress, growth, release.

Pure. ``reconcile.volumes`` decides with it; nobody below ``translate`` may import it.
"""
