"""``python -m kubelet_bridge`` is the ``kubelet-bridge`` command."""

from kubelet_bridge.cli import main

if __name__ == "__main__":
    main()
