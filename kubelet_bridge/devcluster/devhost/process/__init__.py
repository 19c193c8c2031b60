"""Mode ``process``: a guest is the real agent on this machine's own operating system, without a hypervisor.

It has namespaces of its own (processes, mounts, hostname, IPC) and a copy-on-write view of this machine's files, but
not a network of its own: what it listens on is reached at the launcher Pod's address, by everybody's ports alike.
``machine`` is its first process and knows nothing of the rest; ``places`` says where everything is.
"""
