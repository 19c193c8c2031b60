"""How long the runtime image takes to boot: seconds from QEMU's start to what the agent's host sees, over some boots.

    .venv/bin/python bench/boot.py [--boots 5] [--disk PATH] [--reference kubelet-bridge.dev/runtime:1]

The seed names an address on this machine where nothing but a listener is: its first connection is the agent's, ready
to say hello. Prints the accelerator, and percentiles for: first output on the serial console, agent connected.
"""

import argparse
import base64
import json
import socket
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from kubelet_bridge.devcluster.devhost.qemu import accelerator
from kubelet_bridge.devcluster.images import store

LIMIT = 180.0
HOST_AS_SEEN_BY_GUESTS = "10.0.2.2"


def seed(directory: Path, port: int) -> Path:
    """A NoCloud disk whose seed sends the agent to ``port`` of this machine."""
    authority = Path(__file__).parent / "boot-ca.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-days", "2", "-subj", "/CN=bench",
         "-keyout", directory / "key.pem", "-out", directory / authority.name],
        check=True, capture_output=True,
    )  # fmt: skip
    document = {
        "version": 1, "pod_uid": "11111111-2222-3333-4444-555555555555", "address": f"{HOST_AS_SEEN_BY_GUESTS}:{port}",
        "server_name": "kubelet-bridge-guest", "ca": (directory / authority.name).read_text(), "token": "bench",
        "agent": {"version": "0", "digest": "0" * 64, "url": "https://127.0.0.1:1/agent", "size": 1},
    }  # fmt: skip
    content = base64.b64encode(json.dumps(document).encode()).decode()
    file = {"path": "/etc/kubelet-bridge/agent.json", "permissions": "0600", "encoding": "b64", "content": content}
    files = directory / "seed"
    files.mkdir()
    (files / "user-data").write_text("#cloud-config\n" + json.dumps({"hostname": "bench", "write_files": [file]}))
    (files / "meta-data").write_text(json.dumps({"instance-id": "bench", "local-hostname": "bench"}))
    iso = directory / "seed.iso"
    subprocess.run(
        ["xorrisofs", "-quiet", "-o", iso, "-volid", "cidata", "-joliet", "-rock", files],
        check=True,
        capture_output=True,
    )
    return iso


def boot(
    disk: Path, directory: Path, iso: Path, listener: socket.socket, arguments: tuple[str, ...]
) -> dict[str, float]:
    """One boot, ended as soon as the agent has connected."""
    overlay, console = directory / "overlay.qcow2", directory / "console"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", disk, overlay], check=True)
    console.write_bytes(b"")
    began = time.monotonic()
    machine = subprocess.Popen([
        "qemu-system-x86_64", "-machine", "q35", *arguments, "-smp", "2", "-m", "1024", "-nodefaults",
        "-display", "none",
        "-drive", f"file={overlay},if=none,id=root,cache=unsafe", "-device", "virtio-blk-pci,drive=root,bootindex=1",
        "-drive", f"file={iso},if=none,id=seed,format=raw,readonly=on", "-device", "virtio-blk-pci,drive=seed",
        "-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net", "-device", "virtio-rng-pci",
        "-serial", f"file:{console}",
    ])  # fmt: skip
    found: dict[str, float] = {}
    try:
        while "agent connected" not in found:
            if time.monotonic() - began > LIMIT:
                raise SystemExit(f"no agent after {LIMIT:.0f} s; the console said:\n{console.read_text()[-2000:]}")
            if console.stat().st_size and "console" not in found:
                found["console"] = time.monotonic() - began
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            found["agent connected"] = time.monotonic() - began
            connection.close()
    finally:
        machine.kill()
        machine.wait()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--boots", type=int, default=5)
    parser.add_argument("--reference", default="kubelet-bridge.dev/runtime:1")
    parser.add_argument("--disk", type=Path)
    options = parser.parse_args()
    disk: Path = options.disk or store.disk_path(options.reference)
    with tempfile.TemporaryDirectory() as name, socket.create_server(("127.0.0.1", 0)) as listener:
        directory = Path(name)
        listener.settimeout(0.05)
        chosen = accelerator.choose(directory)
        print(f"{disk}: {options.boots} boots with {chosen.name} ({chosen.reason}), 2 vCPUs, 1 GiB")
        iso = seed(directory, listener.getsockname()[1])
        boots = [boot(disk, directory, iso, listener, chosen.arguments) for _ in range(options.boots)]
    for stage in ("console", "agent connected"):
        times = sorted(found[stage] for found in boots if stage in found)
        if times:
            middle = statistics.median(times)
            print(f"  {stage:16} min {times[0]:6.2f} s   median {middle:6.2f} s   max {times[-1]:6.2f} s")


if __name__ == "__main__":
    main()
