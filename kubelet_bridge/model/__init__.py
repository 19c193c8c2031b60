"""Typed values: identities, quantities, the Kubernetes and KubeVirt fields that we read or write, and the intent.

Data only, no I/O, no clock, no decisions. Imported by every layer above; imports only ``errors``.
"""
