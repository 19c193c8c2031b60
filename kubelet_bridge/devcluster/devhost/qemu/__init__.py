"""Mode ``qemu``: every VirtualMachineInstance is a real guest in a QEMU process of its own.

``machine`` (pure) reads the VirtualMachineInstance and makes QEMU's arguments; ``storage`` makes the files behind its
disks; ``guest`` drives one machine through QMP; ``runtime`` starts machines and finds them again. QEMU runs detached:
guests outlive the dev host's process. ``accelerator`` decides between KVM and emulation.
"""

PROGRAM = "qemu-system-x86_64"
