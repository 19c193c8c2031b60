"""The in-guest agent, shipped into VMs as a single file that needs nothing but Python 3.8 or later.

It dials the bridge (``session``), is told what the Pod is (``pod``), runs it by podman or on the guest's own operating
system (``driver``), and reports. It imports nothing of the rest; the rest imports only the protocol (``v1``) from here.
"""
