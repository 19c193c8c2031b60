"""What a Pod may ask for by annotation, beyond the fields that Kubernetes has."""

from kubelet_bridge.model.meta import PREFIX

BOOT = f"{PREFIX}/boot"
"""The image to boot from, when it is not the container's ``image``; or ``pvc://CLAIM``, one of the Pod's claims."""

USER = f"{PREFIX}/user"
"""A user to make in the guest, with passwordless sudo."""

SSH_KEYS = f"{PREFIX}/ssh-keys"
"""Names of Secrets, separated by commas, whose values are SSH public keys."""

CLOUD_INIT = f"{PREFIX}/cloud-init"
"""``[secret/|configmap/]NAME[/KEY]``: where the user's own cloud-init documents are."""

CLOUD_INIT_SEED = f"{PREFIX}/cloud-init-seed"
"""Any text; with another one, cloud-init takes a disk that it has set up before for a new machine."""

CONTAINERS = f"{PREFIX}/containers"
"""How a Pod's containers are spread over VMs; they share one unless it says ``vm-per-container``."""

HOTPLUG = f"{PREFIX}/hotplug"
"""``CLAIM[:OPTION]...``, separated by commas: all the claims that are to be plugged into the VM while it runs."""

ROOT_DISK_SIZE = f"{PREFIX}/root-disk-size"
"""Size of the disk that the VM boots from, as a quantity, where it has one of its own."""
