"""Adapter that serves the kubelet's HTTPS API: routes, who may call them, certificates.

Handlers take functions, not the daemon, so that each can be tested alone. Imported by ``daemon``; never by a sibling.
"""
