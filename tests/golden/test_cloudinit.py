"""What cloud-init is given: each ``cloudinit/NAME.pod.yaml`` has its ``NAME.seed.yaml``."""

import base64
import email
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from kubelet_bridge.agent import install
from kubelet_bridge.model.core import Pod
from kubelet_bridge.translate.config import BridgeConfig, GuestAccess
from tests.support import cloudinit, golden
from tests.support.pods import built, inputs_of

PODS = sorted((Path(__file__).parent / "cloudinit").glob("*.pod.yaml"))
GUEST = GuestAccess(
    address="192.0.2.7:10251", files_url="https://192.0.2.7:10252", ca="a certificate\n", key=b"the node's key",
    agent_version="0.1.0", agent_digest="0123456789abcdef" * 4, agent_size=1234567,
)  # fmt: skip
CONFIG = BridgeConfig(node_name="kubelet-bridge", guest=GUEST)
OURS = b"#cloud-config\n{"


def data(path: Path) -> dict[str, bytes]:
    documents = list(yaml.safe_load_all(path.read_text()))
    pod = msgspec.convert(next(one for one in documents if one["kind"] == "Pod"), Pod)
    secret = built(pod, inputs_of(documents, pod), CONFIG).secret
    return {key: base64.b64decode(text) for key, text in secret["data"].items()}


def parts(user_data: bytes) -> list[tuple[dict[str, str], bytes]]:
    """Headers and content of each part; a document that is no MIME is one part."""
    if user_data.startswith(OURS):
        return [({}, user_data)]
    walked = [part for part in email.message_from_bytes(user_data).walk() if not part.is_multipart()]
    return [(dict(part.items()), msgspec.convert(part.get_payload(decode=True), bytes)) for part in walked]


def readable(headers: dict[str, str], content: bytes) -> dict[str, Any]:
    if not content.startswith(OURS):
        return {"headers": headers, "content": content.decode().splitlines()}
    document = msgspec.json.decode(content.removeprefix(b"#cloud-config\n"))
    for file in document["write_files"]:
        text = base64.b64decode(file["content"]).decode()
        file["content"] = "(the installer)" if text == install.installer() else text.splitlines()
    document["runcmd"] = [[*program, script.splitlines()] for *program, script in document["runcmd"]]
    return {"headers": headers, "document": document}


@pytest.mark.parametrize("path", PODS, ids=lambda path: path.name.removesuffix(".pod.yaml"))
def test_seed_is_what_the_golden_file_says(path: Path, update_golden: bool) -> None:
    made = data(path)
    shown = {
        "userdata": [readable(*part) for part in parts(made["userdata"])],
        "networkdata": yaml.safe_load(made["networkdata"]),
    }
    golden.check(path.with_name(path.name.replace(".pod.", ".seed.")), shown, update=update_golden)


@cloudinit.needed
@pytest.mark.parametrize("path", PODS, ids=lambda path: path.name.removesuffix(".pod.yaml"))
def test_what_cloud_init_makes_of_it_is_valid(path: Path, tmp_path: Path) -> None:
    user_data = data(path)["userdata"]
    for _, content in parts(user_data):
        if content.startswith(b"#cloud-config\n"):
            assert cloudinit.schema_complaints(content, tmp_path) == ""
    merged = b"#cloud-config\n" + msgspec.json.encode(cloudinit.merge(user_data, tmp_path).config)
    assert cloudinit.schema_complaints(merged, tmp_path) == ""
