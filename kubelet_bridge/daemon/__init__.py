"""The composition root: it alone knows every adapter, plugs them into ``reconcile``'s ports, and starts and stops them.

No rule about Pods or VMs belongs here. Imported by ``cli``.
"""
