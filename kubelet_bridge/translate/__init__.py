"""The translation itself, both ways: Pod to VirtualMachine and cloud-init, its instance to Pod status, cluster to Node.

Pure functions of values: time, identities and the content of Secrets come in as arguments. Imported by ``reconcile``
and the adapters.
"""
