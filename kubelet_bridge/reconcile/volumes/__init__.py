"""The disks' corridor, beside the Pods': claim → volume intent → DataVolume and PersistentVolume → the claim's status.

``planner`` decides and is pure; ``executor`` performs; ``loop`` brings both together. ``daemon`` plugs the adapters in.
"""
