"""What the images of CDI's Pods do, done by the host for the Pods that cdi-controller makes.

cdi-controller sees of such a Pod its phase, its first container's state and termination message, and the progress that
it serves on its address. Behaviour: cmd/cdi-importer and pkg/importer in CDI.
"""
