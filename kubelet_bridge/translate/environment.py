"""A container's environment, as a kubelet makes it; and which ConfigMaps and Secrets have to be read for it.

Source: ``makeEnvironmentVariables`` in ``pkg/kubelet/kubelet_pods.go``: ``envFrom`` in order, ``env`` over it in order,
then the Services that nobody has overridden. Error texts are the kubelet's; event reasons are virtual-kubelet's
(``internal/podutils/env.go``), on which its own test suite for nodes relies.
"""

import re
from collections.abc import Mapping
from typing import Literal

import msgspec

from kubelet_bridge.model.core import Container, EnvFromSource, EnvVar, EnvVarSource, KeySelector, Pod
from kubelet_bridge.model.snapshot import EventType, Inputs, PodEvent
from kubelet_bridge.translate.downward import KNOWN_AFTER_BOOT, NoSuchField, field_value, resource_value
from kubelet_bridge.translate.expansion import expand
from kubelet_bridge.translate.pullsecrets import pull_secrets
from kubelet_bridge.translate.resources import VmSize
from kubelet_bridge.translate.servicelinks import service_variables
from kubelet_bridge.translate.sshkeys import key_secrets
from kubelet_bridge.translate.userdata import reference
from kubelet_bridge.translate.volumesources import volume_references

Kind = Literal["ConfigMap", "Secret"]

_OBJECT_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", re.ASCII)


class Environment(msgspec.Struct, frozen=True):
    """A container's environment.

    Attributes:
        variables: in the order in which they came to be.
        missing: what keeps the container from starting, in the kubelet's words; empty when nothing does.
        notes: events for the Pod.
    """

    variables: dict[str, str]
    missing: list[str]
    notes: list[PodEvent]


def references(pod: Pod) -> tuple[set[str], set[str]]:
    """Names of the ConfigMaps and of the Secrets that have to be read before the Pod can be translated."""
    config_maps, secrets = volume_references(pod)
    secrets |= {*key_secrets(pod), *pull_secrets(pod)}
    if (documents := reference(pod)) is not None:
        (secrets if documents.kind == "Secret" else config_maps).add(documents.name)
    for container in (*pod.spec.init_containers, *pod.spec.containers, *pod.spec.ephemeral_containers):
        for source in container.env_from:
            config_maps |= {source.config_map_ref.name} if source.config_map_ref else set()
            secrets |= {source.secret_ref.name} if source.secret_ref else set()
        for value_from in (variable.value_from for variable in container.env if variable.value_from):
            config_maps |= {value_from.config_map_key_ref.name} if value_from.config_map_key_ref else set()
            secrets |= {value_from.secret_key_ref.name} if value_from.secret_key_ref else set()
    return set(filter(is_object_name, config_maps)), set(filter(is_object_name, secrets))


def is_object_name(name: str) -> bool:
    """Whether an object may be called ``name``: the API server does not check references; some would be URL paths."""
    return len(name) <= 253 and _OBJECT_NAME.fullmatch(name) is not None


def resolve(
    pod: Pod, container: Container, inputs: Inputs, machine: VmSize, addresses: Mapping[str, str] | None = None
) -> Environment:
    """The environment of ``container``; what it lacks is said in ``missing`` and ``notes``, nothing is raised.

    Addresses of the Pod and its host (``KNOWN_AFTER_BOOT``) are not known before the VM runs: without ``addresses``,
    which maps these fields to their values, such variables are left out, with a note.
    """
    resolver = _Resolver(pod, container, inputs, machine, addresses or {})
    for source in container.env_from:
        resolver.take_all(source)
    for variable in container.env:
        resolver.take(variable)
    variables = resolver.variables
    for name, value in resolver.links.items():
        variables.setdefault(name, value)
    return Environment(variables, list(dict.fromkeys(resolver.missing)), list(dict.fromkeys(resolver.notes)))


def container_path(pod: Pod, container: Container) -> str:
    """The ``fieldPath`` of an event about ``container``."""
    groups = {"initContainers": pod.spec.init_containers, "ephemeralContainers": pod.spec.ephemeral_containers}
    group = next((name for name, members in groups.items() if container in members), "containers")
    return f"spec.{group}{{{container.name}}}"


class _Resolver:
    """The variables so far, and what went wrong on the way."""

    def __init__(
        self, pod: Pod, container: Container, inputs: Inputs, machine: VmSize, addresses: Mapping[str, str]
    ) -> None:
        self.variables: dict[str, str] = {}
        self.missing: list[str] = []
        self.notes: list[PodEvent] = []
        self._pod, self._container, self._inputs, self._machine = pod, container, inputs, machine
        self._addresses = addresses
        wanted = pod.spec.enable_service_links is not False
        self.links = service_variables(inputs.services, pod.metadata.namespace, links=wanted)

    def take_all(self, source: EnvFromSource) -> None:
        """Every key of a ConfigMap or Secret, with the prefix."""
        kind: Kind = "ConfigMap" if source.config_map_ref else "Secret"
        ref = source.config_map_ref or source.secret_ref
        if ref is None:
            return
        content = self._content(kind, ref.name)
        if content is None:
            self._not_found(kind, ref.name, optional=ref.optional)
            return
        for key in sorted(content):
            if (text := self._text(kind, ref.name, key, content[key])) is not None:
                self.variables[f"{source.prefix}{key}"] = text

    def take(self, variable: EnvVar) -> None:
        """One variable: its own value expanded, or a value from elsewhere taken as it is."""
        if variable.value or variable.value_from is None:
            self.variables[variable.name] = expand(variable.value, self.variables, self.links)
            return
        try:
            value = self._from(variable, variable.value_from)
        except NoSuchField as error:
            self.missing.append(error.message)
            return
        if value is not None:
            self.variables[variable.name] = value

    def _from(self, variable: EnvVar, source: EnvVarSource) -> str | None:
        if source.field_ref is not None:
            return self._field(variable.name, source.field_ref.field_path)
        if source.resource_field_ref is not None:
            return resource_value(self._pod, self._container, source.resource_field_ref, self._machine)
        if source.config_map_key_ref is not None:
            return self._key("ConfigMap", variable.name, source.config_map_key_ref)
        if source.secret_key_ref is not None:
            return self._key("Secret", variable.name, source.secret_key_ref)
        return ""

    def _field(self, variable: str, path: str) -> str | None:
        if path not in KNOWN_AFTER_BOOT:
            return field_value(self._pod, path)
        if path in self._addresses:
            return self._addresses[path]
        what = f"environment variable {variable} is left out: {path} is not known before the virtual machine runs"
        self.notes.append(PodEvent(EventType.WARNING, "EnvironmentVariableSkipped", what, self._path()))
        return None

    def _key(self, kind: Kind, variable: str, ref: KeySelector) -> str | None:
        content = self._content(kind, ref.name)
        if content is None:
            self._not_found(kind, ref.name, optional=ref.optional, variable=variable)
            return None
        if ref.key in content:
            return self._text(kind, ref.name, ref.key, content[ref.key])
        absent = f'key "{ref.key}" does not exist in {kind.lower()} "{ref.name}"'
        if ref.optional:
            self._note(f"Optional{kind}KeyNotFound", f'skipping optional envvar "{variable}": {absent}')
        else:
            self._note(f"Mandatory{kind}KeyNotFound", absent)
            self.missing.append(f"couldn't find key {ref.key} in {kind} {self._pod.metadata.namespace}/{ref.name}")
        return None

    def _content(self, kind: Kind, name: str) -> Mapping[str, str | bytes] | None:
        found = self._inputs.config_maps.get(name) if kind == "ConfigMap" else self._inputs.secrets.get(name)
        return None if found is None else found.data

    def _text(self, kind: Kind, name: str, key: str, value: str | bytes) -> str | None:
        try:
            return value if isinstance(value, str) else value.decode()
        except UnicodeDecodeError:
            self.missing.append(f"key {key} in {kind} {self._pod.metadata.namespace}/{name} is not valid UTF-8")
            return None

    def _not_found(self, kind: Kind, name: str, *, optional: bool, variable: str = "") -> None:
        absent = f'{kind.lower()} "{name}" not found'
        if optional:
            skipping = f'skipping optional envvar "{variable}": ' if variable else ""
            self._note(f"Optional{kind}NotFound", f"{skipping}{absent}")
        else:
            self._note(f"Mandatory{kind}NotFound", absent)
            self.missing.append(absent)

    def _note(self, reason: str, message: str) -> None:
        self.notes.append(PodEvent(EventType.WARNING, reason, message, self._path()))

    def _path(self) -> str:
        return container_path(self._pod, self._container)
