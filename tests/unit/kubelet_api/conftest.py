from tests.support.channels import served, workload
from tests.support.kubelet_endpoint import serving

__all__ = ["served", "serving", "workload"]
