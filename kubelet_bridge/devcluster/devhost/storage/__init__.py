"""The host's storage: volumes that are files below the cluster's directory, and who makes, grows and removes them.

What a CSI driver's external-provisioner and external-resizer do for a driver that needs no attaching.
"""
