"""Properties of the translation: quantities, expansion and names against small models, and any small Pod at all."""

import contextlib
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from kubelet_bridge.model.core import Pod
from kubelet_bridge.model.meta import PodKey, is_dns_label, vm_name
from kubelet_bridge.model.quantity import InvalidQuantity, Quantity
from kubelet_bridge.model.snapshot import Inputs
from kubelet_bridge.translate.cloudinit import environment_file
from kubelet_bridge.translate.expansion import expand
from kubelet_bridge.translate.hostname import hostname
from kubelet_bridge.translate.image import Unresolvable
from kubelet_bridge.translate.missing import MissingInputs
from kubelet_bridge.translate.support import CannotTranslate, refusals
from kubelet_bridge.translate.virtualmachine import Manifests
from kubelet_bridge.translate.volumes import serial
from tests.support.pods import CONFIG, bound_claims, built, config_map, secret

SUFFIXES: dict[str, int | Fraction] = {
    "": 1, "n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 1000), "k": 10**3, "M": 10**6, "G": 10**9,
    "T": 10**12, "P": 10**15, "E": 10**18, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40,
    "e3": 1000, "E-3": Fraction(1, 1000),
}  # fmt: skip


@given(st.integers(0, 10**6), st.sampled_from(sorted(SUFFIXES)), st.sampled_from(["", "-", "+"]))
def test_a_quantity_is_its_number_times_its_suffix(number: int, suffix: str, sign: str) -> None:
    value = number * SUFFIXES[suffix] * (-1 if sign == "-" else 1)
    assert Quantity.parse(f"{sign}{number}{suffix}").value == value


@given(
    st.from_regex(r"[+-]?([0-9]{1,9}(\.[0-9]{0,9})?|\.[0-9]{1,9})([numkMGTP]|[KMGTP]i|[eE][+-]?[0-9])?", fullmatch=True)
)
def test_the_canonical_form_loses_nothing_and_is_stable(text: str) -> None:
    quantity = Quantity.parse(text)
    again = Quantity.parse(quantity.canonical())
    assert again == quantity
    assert again.canonical() == quantity.canonical()


@given(st.text(max_size=12) | st.floats() | st.integers() | st.none() | st.booleans())
def test_anything_else_is_refused_and_nothing_else_is_raised(given_: Any) -> None:
    with contextlib.suppress(InvalidQuantity):
        assert Quantity.parse(given_).canonical()


def kubernetes_expand(text: str, variables: Mapping[str, str]) -> str:
    """``expand.go``, character by character."""
    out, at = "", 0
    while at < len(text):
        rest = text[at + 1 :]
        if text[at] != "$" or not rest:
            out, at = out + text[at], at + 1
        elif rest[0] == "$":
            out, at = out + "$", at + 2
        elif rest[0] == "(" and ")" in rest:
            name = rest[1 : rest.index(")")]
            out, at = out + variables.get(name, f"$({name})"), at + len(name) + 3
        else:
            out, at = out + "$" + rest[0], at + 2
    return out


@given(
    st.text("$()AB \n", max_size=20),
    st.dictionaries(st.sampled_from(["A", "B", "AB", "", "$"]), st.text("$(A)x", max_size=6)),
)
def test_expansion_is_kubernetes_expansion(text: str, variables: dict[str, str]) -> None:
    assert expand(text, variables) == kubernetes_expand(text, variables)


_name = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,80}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?){0,3}", fullmatch=True)


@given(_name, _name, st.uuids().map(str))
def test_names_of_vm_and_guest_are_dns_labels(name: str, namespace: str, uid: str) -> None:
    pod = msgspec.convert({"metadata": {"name": name, "namespace": namespace, "uid": uid}}, Pod)
    assert is_dns_label(hostname(pod))
    assert is_dns_label(vm_name(PodKey(namespace, name, uid)))


@given(st.lists(_name.map(lambda name: name[:63]), unique=True, max_size=5))
def test_serials_of_different_volumes_differ(names: list[str]) -> None:
    serials = {serial(name) for name in names}
    assert len(serials) == len(names)
    assert all(len(one) <= 20 and re.fullmatch(r"[A-Za-z0-9_.+-]+", one) for one in serials)


@given(
    st.dictionaries(
        st.from_regex(r"[A-Z_]{1,5}", fullmatch=True), st.text(st.characters(exclude_characters="\0"), max_size=10)
    )
)
def test_an_environment_file_can_be_read_back(variables: dict[str, str]) -> None:
    assert systemd_read(environment_file(variables)) == variables


def systemd_read(text: str) -> dict[str, str]:
    """``NAME="value"`` lines: a backslash takes the next of ``\\"$``` with it (parse_env_file_internal in systemd)."""
    found = re.findall(r'([A-Z_]+)="((?:[^"\\]|\\.)*)"\n', text, re.DOTALL)
    return {name: re.sub(r'\\(["\\$`])', r"\1", value) for name, value in found}


_text = st.sampled_from(["", "a", "web", "$(A)", "é", "A B", "1"])
_maybe = st.booleans()


def _some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """An object with any of the fields."""
    return st.fixed_dictionaries({}, optional=fields)


def _few(of: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(of, max_size=2)


def _one_of(sound: bool, good: list[Any], bad: list[Any]) -> st.SearchStrategy[Any]:
    return st.sampled_from(good if sound else [*good, *bad])


_requirement = _some(
    key=st.sampled_from(["type", "kubernetes.io/hostname", "zone"]),
    operator=st.sampled_from(["In", "Exists", "NotIn", "Gt"]),
    values=_few(st.sampled_from(["kubelet-bridge", "virtual-kubelet", "z1"])),
)  # fmt: skip
_term = _some(matchExpressions=_few(_requirement), matchFields=_few(_requirement))
_affinity = _some(
    nodeAffinity=_some(
        requiredDuringSchedulingIgnoredDuringExecution=_some(nodeSelectorTerms=_few(_term)),
        preferredDuringSchedulingIgnoredDuringExecution=_few(_some(weight=st.just(1), preference=_term)),
    ),
    podAffinity=st.none(),
)


def _env_source(sound: bool) -> st.SearchStrategy[dict[str, Any]]:
    key = st.fixed_dictionaries({
        "name": _one_of(sound, ["m"], ["gone", ""]), "key": st.sampled_from(["A", "none"]),
        "optional": st.just(True) if sound else _maybe,
    })  # fmt: skip
    paths = _one_of(sound, ["metadata.name", "metadata.labels['a']", "status.podIP"], ["status.phase", ""])
    resources, divisors = _one_of(sound, ["limits.cpu", "requests.memory"], ["x"]), st.sampled_from(["1Mi", 0, 1])
    return st.one_of(
        _some(configMapKeyRef=key), st.fixed_dictionaries({"fieldRef": st.fixed_dictionaries({"fieldPath": paths})}),
        _some(resourceFieldRef=st.fixed_dictionaries({"resource": resources, "divisor": divisors})),
        *([] if sound else [_some(secretKeyRef=key, fileKeyRef=_some(key=_text))]),
    )  # fmt: skip


def _reference(sound: bool) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"name": _one_of(sound, ["m"], ["gone", ""])})


def _container(sound: bool) -> st.SearchStrategy[dict[str, Any]]:
    port = _one_of(sound, [1, 80, 65535], [0, 65536, -1])
    action = st.fixed_dictionaries(
        {"port": port | _one_of(sound, ["80"], ["nobody", ""])}, optional={"host": _text, "path": _text}
    )
    probe = _some(
        httpGet=action, tcpSocket=action, exec=_some(command=_few(_text)), grpc=st.fixed_dictionaries({"port": port}),
        initialDelaySeconds=st.integers(0, 9), failureThreshold=st.integers(1, 9),
    )  # fmt: skip
    ports = st.fixed_dictionaries({"containerPort": port}, optional={
        "name": _text, "protocol": _one_of(sound, ["TCP", "UDP", ""], ["SCTP"]), "hostPort": _one_of(sound, [0], [80]),
    })  # fmt: skip
    amounts = _amounts(sound)
    image = _one_of(sound, ["nginx", "quay.io/a:1"], ["pvc://a", "NGINX", ""])
    added = _few(_one_of(sound, ["CHOWN"], ["ALL"]))
    return st.fixed_dictionaries({"image": image}, optional={
        "name": _text, "command": _few(_text),
        "env": _few(_some(name=_text, value=_text, valueFrom=_env_source(sound))),
        "envFrom": _few(_some(prefix=_text, configMapRef=_reference(sound))),
        "ports": _few(ports), "resources": _some(limits=amounts, requests=amounts), "readinessProbe": probe,
        "livenessProbe": probe, "startupProbe": probe, "volumeMounts": _few(_some(name=_text)),
        "securityContext": _some(privileged=_one_of(sound, [False], [True]), capabilities=_some(add=added)),
    })  # fmt: skip


def _amounts(sound: bool) -> st.SearchStrategy[dict[str, Any]]:
    bad = ["-1", "1 Gi", "lots", "", "8Ei"]
    cpu, memory = _one_of(sound, ["1", "500m", 0, 2, 0.5], bad), _one_of(sound, ["64Mi", "1Gi", "1G", "3.5Gi", 0], bad)
    return _some(cpu=cpu, memory=memory, **({} if sound else {"nvidia.com/gpu": st.just(1)}))


def _volume(sound: bool) -> st.SearchStrategy[dict[str, Any]]:
    size = _one_of(sound, ["1Gi", 0, 1024], ["lots", "-1"])
    claim = {"persistentVolumeClaim": _some(claimName=_text, readOnly=_maybe)}
    return st.one_of(
        st.just({}), st.fixed_dictionaries({"emptyDir": _some(sizeLimit=size, medium=_text) | st.none()}),
        st.fixed_dictionaries({"configMap": _some(name=_text, optional=_maybe)}), st.fixed_dictionaries(claim),
        st.fixed_dictionaries({"projected": _some(sources=_few(st.just({})))}),
        *([] if sound else [st.just({"hostPath": None}), st.just({"nfs": {}})]),
    )  # fmt: skip


def _volumes(sound: bool) -> st.SearchStrategy[list[dict[str, Any]]]:
    names = st.lists(st.sampled_from(["root", "root-vm", "cloudinit", "data"]), unique=True, max_size=3)
    return st.builds(
        lambda named, of: [{"name": name, **one} for name, one in zip(named, of, strict=False)],
        names,
        st.lists(_volume(sound), max_size=3),
    )


def _pods(sound: bool) -> st.SearchStrategy[Pod]:
    containers = st.lists(_container(sound), min_size=1, max_size=1) if sound else _few(_container(sound))
    spec = st.fixed_dictionaries({"containers": containers}, optional={
        "initContainers": st.just([]) if sound else st.lists(_container(sound), max_size=1),
        "volumes": _volumes(sound), "affinity": _affinity,
        "restartPolicy": st.sampled_from(["Always", "OnFailure", "Never", "?"]),
        "hostname": _text, "subdomain": _text, "dnsPolicy": _text, "resources": _some(limits=_amounts(sound)),
        "hostNetwork": _one_of(sound, [False], [True]), "nodeSelector": st.dictionaries(_text, _text, max_size=2),
        "dnsConfig": _some(nameservers=_few(_text), searches=_few(_text), options=_few(_some(name=_text))),
        "imagePullSecrets": _few(_some(name=_text)), "tolerations": _few(_some(key=_text, operator=_text)),
    })  # fmt: skip
    annotations = st.dictionaries(
        _one_of(sound, ["other"], ["kubelet-bridge.io/boot", "kubelet-bridge.io/user", "kubelet-bridge.io/ssh-keys"]),
        _text,
        max_size=2,
    )
    metadata = st.fixed_dictionaries(
        {"name": _name, "namespace": st.just("shop"), "uid": st.uuids().map(str), "annotations": annotations}
    )
    return st.builds(lambda metadata, spec: msgspec.convert({"metadata": metadata, "spec": spec}, Pod), metadata, spec)


_inputs = Inputs({"m": config_map("m", A="1"), "gone": None}, {"m": secret("m", A=b"\xff"), "a": secret("a", A="1")})


def _attempt(pod: Pod) -> Manifests | str:
    try:
        return built(pod, msgspec.structs.replace(_inputs, claims=bound_claims(pod)))
    except (CannotTranslate, Unresolvable, MissingInputs) as error:
        return error.message


@given(_pods(sound=False))
def test_any_pod_becomes_a_vm_or_a_declared_error_and_always_the_same(pod: Pod) -> None:
    made = _attempt(pod)
    assert made == _attempt(pod)
    assert made
    if refusals(pod, CONFIG):
        assert isinstance(made, str)


@given(_pods(sound=True))
def test_a_sound_pod_becomes_a_vm_that_hangs_together(pod: Pod) -> None:
    made = _attempt(pod)
    assert isinstance(made, Manifests), made
    spec = made.virtual_machine["spec"]["template"]["spec"]
    disks = [disk["name"] for disk in spec["domain"]["devices"]["disks"]]
    assert disks == [volume["name"] for volume in spec["volumes"]]
    assert len(set(disks)) == len(disks)
    ports = spec["domain"]["devices"]["interfaces"][0].get("ports", [])
    assert len({(port["port"], port["protocol"]) for port in ports}) == len(ports)
    memory = Quantity.parse(spec["domain"]["memory"]["guest"]).ceil()
    assert memory % 2**21 == 0
    assert ("maxGuest" in spec["domain"]["memory"]) == (memory >= 2**30)
