"""Adapter for our own Node object: registration, status, Lease.

Imported by ``daemon``; never by its siblings.
"""
