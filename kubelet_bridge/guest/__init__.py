"""Adapter for in-guest agents: the gRPC server they dial. Nothing yet; it arrives with the agent.

The only package that may import ``grpc``. Imported by ``daemon``; never by its siblings.
"""
