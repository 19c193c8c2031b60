"""SPDY/3.1 as Kubernetes clients speak it to a kubelet: many byte streams in one connection. No I/O in the codec.

``frames``, ``headers`` and ``connection`` turn bytes into events and back; ``session`` runs a connection on a ``Wire``.
The other side is always moby/spdystream, whose habits decide where the draft and practice differ: there is no flow
control, the only brake is not to read.
"""
