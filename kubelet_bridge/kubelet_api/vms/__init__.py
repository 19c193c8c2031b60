"""``/vms``: what this node has promised and how it stands, to read; and a way to the screen and console of a VM.

``docs/openapi.yaml`` is its contract. Nothing here asks the cluster: answers come from the intent store and the caches.
"""
