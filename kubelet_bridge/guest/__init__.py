"""Adapter for in-guest agents: the gRPC server they dial, and the HTTPS server that hands out the agent itself.

The only package that may import ``grpc``. Imported by ``daemon``; never by its siblings. A guest is not trusted: what
it sends is limited in size and rate, clipped, and can harm nothing but what is known of itself.
"""
