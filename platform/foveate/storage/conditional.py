"""Conditional writes: a file takes the place of what was read, unless somebody else has changed that meanwhile."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlsplit

from foveate.core.errors import ConfigError, StorageError
from foveate.core.extras import needs
from foveate.storage.files import locked, sync_folder, write_durably
from foveate.storage.folder import Folder

if TYPE_CHECKING:
    from obstore.store import ObjectStore

_MEMORY: Final = threading.Lock()
"""Held while a file of fsspec's memory changes, which all of a process shares."""
_SECONDS: Final = timedelta(seconds=10)
_NO_SUCH_TAG: Final = '"00000000000000000000000000000000"'
_ARROW_TO_S3: Final = {"endpoint_override": "endpoint", "region": "region"}


def replace_if_same(folder: Folder, name: str, before: bytes | None, after: bytes) -> bool:
    """Write a file if it still holds what was read; check and write are one step.

    Parameters
    ----------
    before
        What was read; None where there was no such file.

    Returns
    -------
    bool
        False where the file holds something else by now, and was left alone.

    Raises
    ------
    ConfigError
        The store has no conditional writes.
    StorageError
        The disk is full, or the store does not answer or does not let us in.
    """
    if folder.local is not None:
        return _replace_local(folder.local, name, before, after)
    kind = urlsplit(folder.address).scheme
    if kind == "memory":
        return _replace_in_memory(folder, name, before, after)
    if kind in ("s3", "gs", "gcs"):
        return _replace_at_store(folder, name, before, after)
    raise ConfigError(_refusal(folder))


def _replace_local(folder: Path, name: str, before: bytes | None, after: bytes) -> bool:
    path, staged = folder / name, folder / f".{name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / f".{name}.lock"):
            if (path.read_bytes() if path.exists() else None) != before:
                return False
            write_durably(staged, after)
            staged.replace(path)
            sync_folder(folder)
    except OSError as error:
        raise StorageError(f"'{path}' cannot be written: {os.strerror(error.errno or 0)}") from error
    return True


def _replace_in_memory(folder: Folder, name: str, before: bytes | None, after: bytes) -> bool:
    with _MEMORY:
        found = folder.read(name).encode() if folder.holds(name) else None
        if found != before:
            return False
        folder.write(name, after.decode())
        return True


def _replace_at_store(folder: Folder, name: str, before: bytes | None, after: bytes) -> bool:
    with needs("obstore", extra="stores"):
        import obstore  # noqa: PLC0415 - for registries at a store alone
    from obstore.exceptions import AlreadyExistsError, BaseError, NotSupportedError, PreconditionError  # noqa: PLC0415

    store, path = _store(folder), f"{_within_bucket(folder)}/{name}"
    try:
        _expect_conditions(store, f"{path}.probe", folder)
        mode: Any = "create"
        if before is not None:
            found = obstore.get(store, path)
            if bytes(found.bytes()) != before:
                return False
            mode = {key: found.meta[key] for key in ("e_tag", "version") if found.meta[key] is not None}
        obstore.put(store, path, after, mode=mode)
    except (AlreadyExistsError, PreconditionError, FileNotFoundError):
        return False
    except NotSupportedError as error:
        raise ConfigError(_refusal(folder)) from error
    except BaseError as error:
        fault = " ".join(str(error).split())[:200]
        raise StorageError(f"'{folder}' cannot be written: {fault}") from error
    return True


def _expect_conditions(store: ObjectStore, probe: str, folder: Folder) -> None:
    """See that the store heeds conditions: one that knows none would write this."""
    import obstore  # noqa: PLC0415
    from obstore.exceptions import PreconditionError  # noqa: PLC0415

    try:
        obstore.put(store, probe, b"", mode={"e_tag": _NO_SUCH_TAG})
    except (PreconditionError, FileNotFoundError):
        return
    with suppress(Exception):
        obstore.delete(store, probe)
    raise ConfigError(_refusal(folder))


def _store(folder: Folder) -> ObjectStore:
    from obstore.store import GCSStore, S3Store  # noqa: PLC0415

    parts = urlsplit(folder.address)
    options = dict(parse_qsl(parts.query))
    bucket = parts.netloc.rpartition("@")[2]
    client: Any = {"timeout": "10s", "connect_timeout": "5s"}
    retry: Any = {"max_retries": 2, "retry_timeout": _SECONDS}
    if parts.scheme != "s3":
        return GCSStore(bucket, client_options=client, retry_config=retry)
    config: Any = {theirs: options[ours] for ours, theirs in _ARROW_TO_S3.items() if ours in options}
    endpoint = config.get("endpoint", "")
    if endpoint and "://" not in endpoint:
        config["endpoint"] = f"{options.get('scheme', 'https')}://{endpoint}"
    if parts.username and parts.password:
        config |= {"access_key_id": parts.username, "secret_access_key": parts.password}
    client["allow_http"] = config.get("endpoint", "").startswith("http://")
    return S3Store(bucket, config=config, client_options=client, retry_config=retry)


def _within_bucket(folder: Folder) -> str:
    return urlsplit(folder.address).path.strip("/")


def _refusal(folder: Folder) -> str:
    return (
        f"'{folder}': the store has no conditional writes, so of two who change it at once one would be lost; keep the "
        "registry in a folder, or at a store with If-Match such as Amazon S3"
    )
