"""The ways into a Pod's machine, for the kubelet API: its agent, its serial console and screen, its network."""
