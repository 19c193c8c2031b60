"""Exec, attach and forwarded connections over the one conversation with the bridge; ``streams.Streams`` is the door."""
