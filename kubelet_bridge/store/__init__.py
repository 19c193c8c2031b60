"""Adapter for SQLite: the intents this node has accepted, their history and their tombstones; what is known of guests.

The only package that opens a database. Imported by ``daemon`` and ``cli``'s read-only views; never by its siblings.
"""
