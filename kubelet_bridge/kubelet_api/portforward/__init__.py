"""``/portForward``: connections to a Pod's ports over SPDY, over SPDY in a WebSocket, and over WebSocket channels."""
