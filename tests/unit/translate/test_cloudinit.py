import base64
import email
import hashlib
import shlex
import subprocess
from pathlib import Path

import msgspec
import pytest
import yaml

from kubelet_bridge.agent.config import AgentFile, load_seed
from kubelet_bridge.agent.install import INSTALLER_PATH
from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.guesttoken import SERVER_NAME, boot_token
from kubelet_bridge.model.meta import firmware_uuid
from kubelet_bridge.model.snapshot import Inputs
from kubelet_bridge.translate.cloudinit import SECRET_LIMIT, environment_file
from kubelet_bridge.translate.config import BridgeConfig, GuestAccess
from kubelet_bridge.translate.network import mac_address
from kubelet_bridge.translate.sshkeys import authorized_keys, is_public_key
from kubelet_bridge.translate.support import CannotTranslate
from kubelet_bridge.translate.virtualmachine import MissingInputs
from tests.support import cloudinit
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
    interface = {"match": {"macaddress": mac_address(UID)}, "set-name": "eth0", "dhcp4": True, "dhcp6": False}
    assert network == {"version": 2, "ethernets": {"eth0": interface}}
    interfaces = built(pod()).virtual_machine["spec"]["template"]["spec"]["domain"]["devices"]["interfaces"]
    assert interfaces[0]["macAddress"] == mac_address(UID)


@cloudinit.needed
@pytest.mark.parametrize(
    ("renderer", "distribution", "file", "lines"),
    [
        ("eni", "debian", "etc/network/interfaces.d/50-cloud-init", ["auto eth0", "iface eth0 inet dhcp"]),
        ("eni", "alpine", "etc/network/interfaces", ["auto eth0", "iface eth0 inet dhcp"]),
        ("networkd", "debian", "etc/systemd/network/10-cloud-init-eth0.network",
         [f"MACAddress={mac_address(UID)}", "Name=eth0", "DHCP=ipv4"]),
        ("netplan", "ubuntu", "etc/netplan/50-cloud-init.yaml",
         ["            dhcp4: true", f"                macaddress: {mac_address(UID)}", "            set-name: eth0"]),
        ("sysconfig", "rhel", "etc/sysconfig/network-scripts/ifcfg-eth0",
         ["BOOTPROTO=dhcp", "DEVICE=eth0", f"HWADDR={mac_address(UID)}"]),
        ("network-manager", "fedora", "etc/NetworkManager/system-connections/cloud-init-eth0.nmconnection",
         ["method=auto", f"mac-address={mac_address(UID).upper()}"]),
    ],
)  # fmt: skip
def test_every_renderer_finds_the_interface_and_names_it(
    renderer: str, distribution: str, file: str, lines: list[str], tmp_path: Path
) -> None:
    data = base64.b64decode(built(pod()).secret["data"]["networkdata"])
    rendered = cloudinit.render_network(data, renderer, distribution, tmp_path)[file]
    assert set(lines) <= set(rendered.splitlines())
    assert "inet6" not in rendered
    assert "[ipv6]" not in rendered


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


GUEST = GuestAccess(
    address="192.0.2.7:10251", files_url="https://192.0.2.7:10252", ca="-----BEGIN CERTIFICATE-----\n", key=bytes(32),
    agent_version="1.2.3", agent_digest="ab" * 32, agent_size=12345,
)  # fmt: skip
WITH_AGENT = msgspec.structs.replace(CONFIG, guest=GUEST)


def files_of(of: Pod, config: BridgeConfig = WITH_AGENT) -> dict[str, dict[str, str]]:
    document = yaml.safe_load(base64.b64decode(built(of, config=config).secret["data"]["userdata"]))
    return {file["path"]: file for file in document["write_files"]}


def test_the_seed_is_what_the_agent_reads(tmp_path: Path) -> None:
    file = files_of(pod())["/etc/kubelet-bridge/agent.json"]
    assert file["permissions"] == "0600"
    path = tmp_path / "agent.json"
    path.write_bytes(base64.b64decode(file["content"]))
    seed = load_seed(path)
    assert (seed.pod_uid, seed.host, seed.port) == (UID, "192.0.2.7", 10251)
    assert (seed.server_name, seed.ca, seed.token) == (SERVER_NAME, GUEST.ca, boot_token(GUEST.key, UID))
    url = f"https://192.0.2.7:10252/agent/{'ab' * 32}.pyz"
    assert seed.agent == AgentFile("1.2.3", "ab" * 32, url, 12345)


def test_the_installer_runs_at_each_boot_until_a_whole_agent_is_there(tmp_path: Path) -> None:
    files = {path: base64.b64decode(file["content"]).decode() for path, file in files_of(pod()).items()}
    script = files["/var/lib/cloud/scripts/per-boot/kubelet-bridge.sh"]
    for path in ("/var/lib/kubelet-bridge/", "/var/log/kubelet-bridge-install.log", INSTALLER_PATH):
        script = script.replace(path, str(tmp_path / Path(path).name) + "/" * path.endswith("/"))
    log, state, installer = tmp_path / "log", tmp_path / "kubelet-bridge", tmp_path / "install.sh"
    (state / "agent").mkdir(parents=True)
    installer.write_text(f"echo ran >>{log}; [ -e {tmp_path}/network ]")

    def boot(times: int) -> int:
        for _ in range(times):
            subprocess.run(["/bin/sh", "-c", f"{script}\nwait"], check=False)
        return log.read_text().count("ran")

    assert boot(2) == 2
    assert not (state / "installed").exists()
    (tmp_path / "network").touch()
    digest = hashlib.sha256(b"an agent").hexdigest()
    (state / "agent" / f"{digest}.pyz").write_bytes(b"an agent")
    (state / "agent" / "current.pyz").symlink_to(f"{digest}.pyz")
    assert boot(3) == 3
    assert (state / "installed").exists()
    (state / "agent" / f"{digest}.pyz").write_bytes(b"an age\0\0")
    assert boot(1) == 4


def test_scripts_for_the_guest_are_shell() -> None:
    files = files_of(pod())
    document = yaml.safe_load(base64.b64decode(built(pod()).secret["data"]["userdata"]))
    scripts = [base64.b64decode(files[path]["content"]) for path in files if path.endswith(".sh")]
    assert len(scripts) == 2
    for script in [*scripts, *(command[2].encode() for command in document["runcmd"])]:
        subprocess.run(["/bin/sh", "-n"], input=script, check=True)


def test_the_same_pod_gets_the_same_secret_and_another_pod_another_token() -> None:
    assert built(pod(), config=WITH_AGENT).secret == built(pod(), config=WITH_AGENT).secret
    other = base64.b64decode(files_of(pod(uid="another"))["/etc/kubelet-bridge/agent.json"]["content"]).decode()
    assert boot_token(GUEST.key, UID) not in other


def test_no_secret_is_anywhere_but_in_the_secret() -> None:
    own = Inputs(secrets={"mine": secret("mine", userdata="#cloud-config\npassword: hunter2")})
    made = built(pod(annotations={"kubelet-bridge.io/cloud-init": "mine"}), own, WITH_AGENT)
    rest = repr([made.virtual_machine, made.notes, made.allocation, WITH_AGENT])
    for value in ("hunter2", boot_token(GUEST.key, UID), base64.b64encode(b"hunter2").decode()[:8]):
        assert value not in rest


def test_the_users_document_comes_with_ours() -> None:
    own = Inputs(secrets={"mine": secret("mine", userdata="#!/bin/sh\ntrue\n", networkdata="version: 2\n")})
    data = built(pod(annotations={"kubelet-bridge.io/cloud-init": "mine"}), own).secret["data"]
    assert base64.b64decode(data["networkdata"]) == b"version: 2\n"
    message = email.message_from_bytes(base64.b64decode(data["userdata"]))
    theirs, ours = msgspec.convert([part.get_payload(decode=True) for part in message.walk()][1:], list[bytes])
    assert theirs == b"#!/bin/sh\ntrue\n"
    assert ours == base64.b64decode(built(pod()).secret["data"]["userdata"])


@pytest.mark.parametrize(
    ("document", "complaint"),
    [(b"#!" + b"x" * SECRET_LIMIT, "a Secret holds 1048576"), (b"\x1f\x8bno", "looks like gzip and is not")],
)
def test_a_document_that_cannot_be_carried_is_refused_by_its_field(document: bytes, complaint: str) -> None:
    own = Inputs(secrets={"mine": secret("mine", userdata=document)})
    with pytest.raises(CannotTranslate, match=complaint) as caught:
        built(pod(annotations={"kubelet-bridge.io/cloud-init": "mine"}), own)
    assert [one.field for one in caught.value.refusals] == ["metadata.annotations[kubelet-bridge.io/cloud-init]"]


def test_a_missing_document_holds_the_vm_back() -> None:
    with pytest.raises(MissingInputs, match='secret "mine" not found'):
        built(pod(annotations={"kubelet-bridge.io/cloud-init": "mine"}))


@pytest.mark.parametrize("text", ["secret/", "volume/mine", "Mine", "secret/mine/a/b"])
def test_an_annotation_that_names_nothing_is_refused(text: str) -> None:
    with pytest.raises(CannotTranslate, match="does not name a Secret or ConfigMap"):
        built(pod(annotations={"kubelet-bridge.io/cloud-init": text}))


def test_another_seed_is_another_instance_for_cloud_init() -> None:
    def uuid(**annotations: str) -> str:
        wanted = {f"kubelet-bridge.io/{name.replace('_', '-')}": value for name, value in annotations.items()}
        domain = built(pod(annotations=wanted)).virtual_machine["spec"]["template"]["spec"]["domain"]
        return str(domain["firmware"]["uuid"])

    assert uuid() == uuid(cloud_init_seed="") == firmware_uuid(UID)
    assert len({uuid(), uuid(cloud_init_seed="1"), uuid(cloud_init_seed="2")}) == 3


@cloudinit.needed
def test_our_document_is_valid_in_cloud_inits_eyes(tmp_path: Path) -> None:
    asked = {"kubelet-bridge.io/user": "ops", **ANNOTATED}
    inputs = Inputs(secrets={"keys": secret("keys", me=KEY)})
    spec = {"hostname": "h", "subdomain": "s", "setHostnameAsFQDN": True}
    of = pod(spec, annotations=asked)
    user_data = base64.b64decode(built(of, inputs, WITH_AGENT).secret["data"]["userdata"])
    assert cloudinit.schema_complaints(user_data, tmp_path) == ""


def test_dual_stack_clusters_get_dhcp_for_both_families() -> None:
    config = msgspec.structs.replace(CONFIG, ipv6=True)
    data = built(pod(), config=config).secret["data"]
    assert msgspec.json.decode(base64.b64decode(data["networkdata"]))["ethernets"]["eth0"]["dhcp6"] is True
