"""What a Pod may ask for by annotation, beyond the fields that Kubernetes has."""

from kubelet_bridge.model.meta import PREFIX

BOOT = f"{PREFIX}/boot"
"""The image to boot from, when it is not the container's ``image``."""

USER = f"{PREFIX}/user"
"""A user to make in the guest, with passwordless sudo."""

SSH_KEYS = f"{PREFIX}/ssh-keys"
"""Names of Secrets, separated by commas, whose values are SSH public keys."""

CLOUD_INIT = f"{PREFIX}/cloud-init"
"""Reserved for the user's own cloud-init document."""
