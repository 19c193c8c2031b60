"""Volumes of files, resolved: what the agent writes into the guest for ConfigMaps, Secrets and the downward API.

Sources in Kubernetes: ``MakePayload`` in ``pkg/volume/configmap`` and ``pkg/volume/secret``, ``collectData`` in
``pkg/volume/projected`` and ``pkg/volume/downwardapi``. Error texts are the kubelet's.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kubelet_bridge.agent.v1 import agent_pb2 as pb
from kubelet_bridge.model.core import Container, Pod
from kubelet_bridge.model.snapshot import Inputs
from kubelet_bridge.translate.downward import NoSuchField, resource_value, volume_value
from kubelet_bridge.translate.resources import VmSize
from kubelet_bridge.translate.volumesources import (
    DEFAULT_MODE,
    DownwardFile,
    KeyToPath,
    ObjectSource,
    Projection,
    TokenSource,
    projection,
)


class VolumeFiles(msgspec.Struct, frozen=True):
    """The files of one volume, and what keeps it from being made, in the kubelet's words; nothing mostly."""

    files: pb.Files
    missing: list[str]


def volume_files(pod: Pod, kind: str, source: dict[str, Any], inputs: Inputs, machine: VmSize) -> VolumeFiles:
    """The content of a volume whose source is one of ``volumesources.FILE_SOURCES``."""
    try:
        projected = projection(kind, source)
    except msgspec.ValidationError as error:
        return VolumeFiles(pb.Files(), [f"{kind}: {error}"])
    mode = DEFAULT_MODE if projected.default_mode is None else projected.default_mode
    collector = _Collector(pod, inputs, machine, mode)
    for one in projected.sources:
        collector.take(one)
    files = [pb.File(path=path, content=content, mode=bits) for path, (content, bits) in collector.files.items()]
    return VolumeFiles(pb.Files(files=files, secret=collector.secret), collector.missing)


class _Collector:
    """Files by path, a later source's over an earlier one's."""

    def __init__(self, pod: Pod, inputs: Inputs, machine: VmSize, mode: int) -> None:
        self.files: dict[str, tuple[bytes, int]] = {}
        self.missing: list[str] = []
        self.secret = False
        self._pod, self._inputs, self._machine, self._mode = pod, inputs, machine, mode

    def take(self, source: Projection) -> None:
        if source.config_map is not None:
            self._take_config_map(source.config_map)
        if source.secret is not None:
            self._take_secret(source.secret)
        if source.downward_api is not None:
            for item in source.downward_api.items:
                self._take_field(item)
        if source.service_account_token is not None:
            self._take_token(source.service_account_token)

    def _take_config_map(self, source: ObjectSource) -> None:
        found = self._inputs.config_maps.get(source.name)
        content = None
        if found is not None:
            content = {key: text.encode() for key, text in found.data.items()} | found.binary_data
        self._take_keys("configmap", "config", source.name, source, content)

    def _take_secret(self, source: ObjectSource) -> None:
        self.secret = True
        name = source.secret_name or source.name
        found = self._inputs.secrets.get(name)
        self._take_keys("secret", "secret", name, source, None if found is None else found.data)

    def _take_keys(
        self, kind: str, keys: str, name: str, source: ObjectSource, content: Mapping[str, bytes] | None
    ) -> None:
        if content is None:
            if not source.optional:
                self.missing.append(f'{kind} "{name}" not found')
            return
        wanted: Sequence[KeyToPath] = source.items or [KeyToPath(key, key) for key in sorted(content)]
        for item in wanted:
            if item.key in content:
                self._put(item.path, content[item.key], item.mode)
            elif not source.optional:
                self.missing.append(f"{kind} references non-existent {keys} key: {item.key}")

    def _take_field(self, item: DownwardFile) -> None:
        try:
            self._put(item.path, self._value(item).encode(), item.mode)
        except NoSuchField as error:
            self.missing.append(error.message)

    def _value(self, item: DownwardFile) -> str:
        if item.field_ref is not None:
            return volume_value(self._pod, item.field_ref.field_path)
        if item.resource_field_ref is not None:
            return resource_value(self._pod, Container(), item.resource_field_ref, self._machine)
        return ""

    def _take_token(self, source: TokenSource) -> None:
        """Where the API server gives none, the other files are still good for something."""
        self.secret = True
        token = self._inputs.tokens.get(source.wanted)
        if token is not None:
            self._put(source.path, token.encode(), None)

    def _put(self, path: str, content: bytes, mode: int | None) -> None:
        self.files[path] = (content, self._mode if mode is None else mode)
