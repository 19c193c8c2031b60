from tests.support.kubelet_endpoint import serving

__all__ = ["serving"]
