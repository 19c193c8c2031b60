"""Who we are, from files that change while we run."""

import asyncio
import ssl
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
import structlog
import yaml

from kubelet_bridge.errors import SettingsError
from kubelet_bridge.kube import credentials
from tests.support.authority import Authority

PLUGIN = """#!/bin/sh
echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"'$(cat %s)'"}}'
"""


def kubeconfig(directory: Path, server: str = "http://127.0.0.1:1", **user: Any) -> Path:
    path = directory / "kubeconfig"
    path.write_text(yaml.safe_dump({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server}}], "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }))  # fmt: skip
    return path


@pytest.mark.parametrize(
    ("user", "header"),
    [
        ({"token": "abc"}, "Bearer abc"),
        ({"username": "me", "password": "secret"}, "Basic bWU6c2VjcmV0"),
        ({}, None),
    ],
)
async def test_what_a_kubeconfig_says(tmp_path: Path, user: dict[str, str], header: str | None) -> None:
    found = await credentials.load(kubeconfig(tmp_path, "http://127.0.0.1:1/", **user))
    assert (found.base_url, found.tls, await found.authorization()) == ("http://127.0.0.1:1", None, header)


@pytest.mark.parametrize("text", [None, "", "{", "[]", "a: b", "apiVersion: v1\nclusters: 3\n"])
async def test_a_file_that_says_nothing_usable_is_named(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "broken"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SettingsError, match=f"kubeconfig {path}"):
        await credentials.load(path)


async def test_the_librarys_models_stay_out_of_memory(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys; from pathlib import Path; from kubelet_bridge.kube import credentials;"
        f"print(asyncio.run(credentials.load(Path({str(kubeconfig(tmp_path))!r}))).base_url,"
        "sum(name.startswith('kubernetes_asyncio.client.models') for name in sys.modules))"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert out.split() == [b"http://127.0.0.1:1", b"0"]


async def test_a_token_file_is_read_again_when_it_is_refused(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("old")
    found = await credentials.load(kubeconfig(tmp_path, tokenFile=str(token)))
    token.write_text("new")
    assert await found.renew("Bearer old")
    assert await found.authorization() == "Bearer new"


async def test_many_that_are_refused_at_once_read_once(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("old")
    found = await credentials.load(kubeconfig(tmp_path, tokenFile=str(token)))
    token.write_text("new")
    assert await asyncio.gather(*(found.renew("Bearer old") for _ in range(5))) == [True] * 5
    token.write_text("newer")
    assert not await found.renew("Bearer new"), "it was read a moment ago"


async def test_an_exec_plugin_is_asked_again(tmp_path: Path) -> None:
    plugin, token = tmp_path / "plugin", tmp_path / "token"
    token.write_text("first")
    plugin.write_text(PLUGIN % token)
    plugin.chmod(stat.S_IRWXU)
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(plugin)}}
    found = await credentials.load(kubeconfig(tmp_path, **user))
    assert await found.authorization() == "Bearer first"
    token.write_text("second")
    assert await found.renew("Bearer first")
    assert await found.authorization() == "Bearer second"


async def test_a_file_that_is_being_written_changes_nothing(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, token="abc")
    found = await credentials.load(path)
    path.write_text("{")
    with structlog.testing.capture_logs() as logs:
        assert not await found.renew("Bearer abc")
    assert await found.authorization() == "Bearer abc"
    assert [one["log_level"] for one in logs] == ["warning"]


async def test_nothing_is_renewed_where_nothing_can_be() -> None:
    async def nobody() -> None:
        return None

    assert not await credentials.Credentials("http://127.0.0.1:1", None, nobody).renew(None)


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ServiceAccount's files, as kubelet projects them."""
    (tmp_path / "ca.crt").write_bytes(Authority().pem)
    (tmp_path / "token").write_text("old\n")
    monkeypatch.setattr(credentials, "SERVICE_ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    return tmp_path


async def test_in_a_cluster(account: Path) -> None:
    found = await credentials.load()
    assert (found.base_url, await found.authorization()) == ("https://[fd00::1]:6443", "Bearer old")
    assert found.tls is not None
    assert found.tls.verify_mode is ssl.CERT_REQUIRED


async def test_a_projected_token_is_read_again(account: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = await credentials.load()
    (account / "token").write_text("new")
    assert await found.authorization() == "Bearer old"
    assert await found.renew("Bearer old")
    assert await found.authorization() == "Bearer new"
    monkeypatch.setattr(credentials, "_TOKEN_MAX_AGE", -1.0)
    (account / "token").write_text("newest")
    assert await found.authorization() == "Bearer newest"
    (account / "token").unlink()
    with structlog.testing.capture_logs():
        assert await found.authorization() == "Bearer newest"


async def test_outside_of_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(SettingsError, match="not running in a cluster"):
        await credentials.load()
