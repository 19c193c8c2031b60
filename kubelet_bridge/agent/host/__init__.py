"""Containers without images: commands on the guest's own operating system, each watched by a small process (``shim``).

``shim`` runs the command and outlives the agent; ``driver`` starts shims, finds them again and talks to them. What runs
in a shim imports nothing but the few modules it needs, because there is one per container: this file imports nothing.
"""
