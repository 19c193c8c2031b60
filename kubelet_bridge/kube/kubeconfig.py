"""kubeconfig files, read by ``kubernetes_asyncio``: merging, exec plugins, OIDC, data and files. Used nowhere else.

Importing any part of that library imports its 770 model modules: 34 MiB and half a second, for good, a third of what
the whole process needs. Its ``config`` package needs one class of them; so the parent packages are put in place without
being run, and the library is imported as a whole, at that price, should a version of it be built otherwise.
"""

import asyncio
import importlib
import importlib.util
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from kubelet_bridge.errors import SettingsError

_LIBRARY = "kubernetes_asyncio"
_IMPORTING = threading.Lock()


async def load(path: Path, context: str | None) -> Any:
    """The library's ``Configuration``: ``host``, ``ssl_ca_cert``, ``cert_file``, ``key_file``, ``api_key`` and so on.

    Raises:
        SettingsError: the file is missing or says nothing usable.
    """
    if not await asyncio.to_thread(path.is_file):
        raise SettingsError(f"kubeconfig {path}: no such file")
    return await asyncio.to_thread(_read, path, context)


def _read(path: Path, context: str | None) -> Any:
    """In a thread, on a loop of its own: it opens and stats files as it goes."""
    with _IMPORTING:
        client, config = _library()
    configuration = client.Configuration()
    # Half a file, as one that is being written, fails in each of these ways.
    try:
        asyncio.run(config.load_kube_config(str(path), context=context, client_configuration=configuration))
    except (config.ConfigException, OSError, ValueError, TypeError, AttributeError, yaml.YAMLError) as error:
        what = "it is no kubeconfig" if isinstance(error, TypeError | AttributeError) else " ".join(str(error).split())
        raise SettingsError(f"kubeconfig {path}: {what}") from error
    return configuration


def _library() -> tuple[Any, Any]:
    """The modules ``client``, of which there may be no more than ``Configuration``, and ``config.kube_config``."""
    if _LIBRARY not in sys.modules:
        try:
            return _without_models()
        except (ImportError, AttributeError):
            for name in [name for name in sys.modules if name.partition(".")[0] == _LIBRARY]:
                del sys.modules[name]
    return importlib.import_module(f"{_LIBRARY}.client"), importlib.import_module(f"{_LIBRARY}.config.kube_config")


def _without_models() -> tuple[Any, Any]:
    _put_in_place(_LIBRARY)
    client = _put_in_place(f"{_LIBRARY}.client")
    made = {
        "Configuration": importlib.import_module(f"{_LIBRARY}.client.configuration").Configuration,
        "ApiClient": object,  # a type in signatures that we do not call
    }
    vars(client).update(made)
    return client, importlib.import_module(f"{_LIBRARY}.config.kube_config")


def _put_in_place(name: str) -> ModuleType:
    """An empty package, in whose directory submodules are found as ever."""
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise ModuleNotFoundError(name)
    package = sys.modules[name] = importlib.util.module_from_spec(spec)
    return package
