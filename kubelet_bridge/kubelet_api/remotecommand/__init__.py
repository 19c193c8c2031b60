"""exec, attach and run: a client's streams on one side, a process in a guest on the other.

``wants``, ``status``, ``channels`` and ``terminalsizes`` decide and do no I/O; ``session`` moves bytes between a
``ports.Process`` and a ``client.Client``, of which there is one over WebSocket and one over SPDY.
"""
