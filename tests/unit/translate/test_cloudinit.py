import base64
import shlex
import subprocess
from pathlib import Path

import msgspec
import pytest
import yaml

from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.snapshot import Inputs
from kubelet_bridge.translate.cloudinit import SECRET_LIMIT, environment_file
from kubelet_bridge.translate.network import mac_address
from kubelet_bridge.translate.sshkeys import authorized_keys, is_public_key
from kubelet_bridge.translate.support import CannotTranslate
from tests.support.pods import CONFIG, UID, built, config_map, container, pod, secret

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
ANNOTATED = {"kubelet-bridge.io/ssh-keys": "keys"}


def documents(of: Pod, inputs: Inputs | None = None) -> tuple[dict[str, object], dict[str, object]]:
    """User data and network data, read the way cloud-init does: as YAML."""
    data = built(of, inputs).secret["data"]
    return yaml.safe_load(base64.b64decode(data["userdata"])), yaml.safe_load(base64.b64decode(data["networkdata"]))


def test_user_data_is_a_cloud_config() -> None:
    data = built(pod()).secret["data"]
    assert base64.b64decode(data["userdata"]).startswith(b"#cloud-config\n{")
    assert documents(pod())[0]["hostname"] == "web"


def test_the_interface_is_matched_by_the_address_the_vm_has() -> None:
    network = documents(pod())[1]
    interface = {"match": {"macaddress": mac_address(UID)}, "dhcp4": True, "dhcp6": False}
    assert network == {"version": 2, "ethernets": {"primary": interface}}
    interfaces = built(pod()).virtual_machine["spec"]["template"]["spec"]["domain"]["devices"]["interfaces"]
    assert interfaces[0]["macAddress"] == mac_address(UID)


def test_mac_addresses_are_local_unicast_and_one_per_incarnation() -> None:
    assert int(mac_address(UID)[:2], 16) & 0b11 == 0b10
    assert mac_address(UID) != mac_address("another")


@pytest.mark.parametrize(
    ("spec", "name", "full"),
    [
        ({}, "web", None),
        ({"hostname": "h", "subdomain": "s"}, "h", "h.s.shop.svc.cluster.local"),
        ({"hostname": "h", "subdomain": "s", "hostnameOverride": "other.example"}, "other-example", None),
    ],
)
def test_names_of_the_guest(spec: dict[str, str], name: str, full: str | None) -> None:
    document = documents(pod(spec))[0]
    assert (document["hostname"], document.get("fqdn")) == (name, full)


@pytest.mark.parametrize(("name", "host"), [("a" * 62 + ".b", "a" * 62), ("1.2", "1-2"), ("a" * 70, "a" * 63)])
def test_a_pod_name_that_is_no_label_becomes_one(name: str, host: str) -> None:
    assert documents(pod(name=name))[0]["hostname"] == host


def test_keys_go_to_the_images_user_or_to_the_one_asked_for() -> None:
    inputs = Inputs(secrets={"keys": secret("keys", me=f"{KEY} me@example.com\n# a comment\n\n{KEY} me@example.com")})
    line = f"{KEY} me@example.com"
    assert documents(pod(annotations=ANNOTATED), inputs)[0]["ssh_authorized_keys"] == [line]
    document = documents(pod(annotations={**ANNOTATED, "kubelet-bridge.io/user": "ops"}), inputs)[0]
    user = {"name": "ops", "sudo": "ALL=(ALL) NOPASSWD:ALL", "lock_passwd": True, "ssh_authorized_keys": [line]}
    assert document["users"] == ["default", user]
    assert "ssh_authorized_keys" not in document


def test_what_is_no_public_key_is_left_out_and_not_repeated() -> None:
    private = "-----BEGIN OPENSSH PRIVATE KEY-----\nsecret\n-----END OPENSSH PRIVATE KEY-----"
    found = authorized_keys(pod(annotations=ANNOTATED), Inputs(secrets={"keys": secret("keys", bad=private, good=KEY)}))
    assert found.lines == [KEY]
    assert [note.reason for note in found.notes] == ["InvalidSSHKey"]
    assert "secret\n" not in found.notes[0].message
    assert "PRIVATE" not in found.notes[0].message


@pytest.mark.parametrize(
    "line",
    ["", "ssh-ed25519", "ssh-ed25519 !!!", "ssh-ed25519 QUJD", KEY.replace("ssh-ed25519", "ssh-rsa"),
     f"{KEY}\nssh-rsa AAAA", f'command="rm -rf /" {KEY}', KEY[:-3]],
)  # fmt: skip
def test_lines_that_are_no_public_keys(line: str) -> None:
    assert not is_public_key(line)


TRICKY = {
    "A": "", "B": "two words", "C": "a\nb\n", "D": '"\\$HOME`id`\\n', "E": "'", "F": "# ;",
    "G": "é\u2028\x7f", "H": "end\\",
}  # fmt: skip


def test_the_environment_file_means_the_same_to_a_shell(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text(environment_file(TRICKY))
    script = f". {shlex.quote(str(file))}; " + "; ".join(f'printf "%s\\0" "${name}"' for name in TRICKY)
    said = subprocess.run(["/bin/sh", "-c", script], check=True, capture_output=True).stdout
    assert said.decode().split("\0")[:-1] == list(TRICKY.values())


def test_characters_that_yaml_forbids_reach_the_guest() -> None:
    document = documents(container(env=[{"name": "A", "value": TRICKY["G"]}]))[0]
    (file,) = msgspec.convert(document["write_files"], list[dict[str, str]])
    assert (file["path"], file["permissions"]) == ("/etc/kubelet-bridge/env", "0600")
    assert base64.b64decode(file["content"]).decode() == f'A="{TRICKY["G"]}"\n'


def test_names_that_no_file_can_carry_are_left_out_with_an_event() -> None:
    env = [{"name": "a.b", "value": "1"}, {"name": "NUL", "value": "a\0b"}, {"name": "OK", "value": "1"}]
    made = built(container(env=env))
    assert [(note.reason, note.message.split("]")[0]) for note in made.notes] == [
        ("InvalidEnvironmentVariableNames", "Keys [NUL, a.b")
    ]
    assert "/etc/kubelet-bridge/env" in base64.b64decode(made.secret["data"]["userdata"]).decode()


def test_a_secret_that_would_be_too_large_is_refused() -> None:
    inputs = Inputs({"big": config_map("big", A="x" * SECRET_LIMIT)})
    with pytest.raises(CannotTranslate, match=r"spec\.containers\[0\]\.env: .* bytes"):
        built(container(envFrom=[{"configMapRef": {"name": "big"}}]), inputs)


def test_no_environment_makes_no_file() -> None:
    assert "write_files" not in documents(pod())[0]


def test_dual_stack_clusters_get_dhcp_for_both_families() -> None:
    config = msgspec.structs.replace(CONFIG, ipv6=True)
    data = built(pod(), config=config).secret["data"]
    assert msgspec.json.decode(base64.b64decode(data["networkdata"]))["ethernets"]["primary"]["dhcp6"] is True
