"""Describes local sessions: their list, endpoints, logs and failures. Changes nothing."""

from __future__ import annotations

import contextlib
import os
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.errors import SandboxError, SessionFailed
from sandbox_client.local.named.record import Phase, Record
from sandbox_client.local.named.registry import Registry
from sandbox_client.local.session import local_endpoint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sandbox_client.transport.endpoint import Endpoint

_POLL: Final = 0.3
"""Seconds between two looks at logs that are followed."""


def describe(record: Record) -> dict[str, Any]:
    """Return a session's facts for people and programs. Contains no secret except the values of `env`."""
    run = record.run if record.phase is Phase.READY else None
    return {
        "name": record.address,
        "phase": str(record.phase),
        "problem": record.problem,
        "created": _time(record.created_at),
        "expires": _time(run.expires_at) if run else None,
        "idle_timeout": record.idle_timeout,
        "lifetime": record.lifetime,
        "on_idle": record.on_idle,
        "workspace": record.workspace,
        "store": record.store,
        "logs": str(Registry().folder(record.name)),
        "options": {key: value for key, value in record.options.items() if value is not None and key != "name"},
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def list_records() -> list[Record]:
    """Return all sessions by name. One whose record cannot be read is Failed."""
    registry = Registry()
    records = []
    for name in registry.names():
        try:
            records.append(registry.read(name))
        except SessionFailed as error:
            empty = Record(name, "", 0.0, "", "", {}, 0.0, 0.0, "suspend", Phase.FAILED, problem=error.message)
            records.append(empty)
        except SandboxError:
            # Deleted meanwhile.
            continue
    return records


def describe_mistake(name: str) -> str:
    """Return a remark if a session of the cluster was named, but one on this machine has that name. Else ""."""
    try:
        is_local = name in Registry().names()
    except OSError:
        return ""
    return f"the session {name} on this machine is local/{name}" if is_local else ""


def read_logs(name: str, tail: int) -> dict[str, str]:
    """Return the last lines of a session's logs, by container: `agent` and `sandbox`, as in a cluster, and `keeper`.

    Args:
        name: The session's name.
        tail: Maximum number of lines of each.

    Raises:
        NotFound: There is no session of that name.
    """
    texts = {}
    for container, path in _find_logs(name).items():
        with contextlib.suppress(FileNotFoundError):
            texts[container] = "".join(path.read_text(errors="replace").splitlines(keepends=True)[-tail:])
    return texts


def follow_logs(name: str, tail: int) -> Iterator[tuple[str, str]]:
    """Yield the last lines of each log, and then new ones as they come, until the session is deleted.

    Args:
        name: The session's name.
        tail: Maximum number of old lines of each.

    Yields:
        The container, as in `read_logs`, and the line.

    Raises:
        NotFound: There is no session of that name.
    """
    logs = {container: _GrowingLog(path) for container, path in _find_logs(name).items()}
    folder, shown = Registry().folder(name), tail
    known = folder.stat().st_ino
    while True:
        for container, log in logs.items():
            yield from ((container, line) for line in log.read()[-shown:])
        shown = 0
        try:
            # A new session of the same name has another folder.
            if folder.stat().st_ino != known:
                return
        except FileNotFoundError:
            return
        time.sleep(_POLL)


class _GrowingLog:
    """A log that another process writes, and replaces when it has become long."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode, self._position, self._rest = 0, 0, b""

    def read(self) -> list[str]:
        """Return the lines that were completed since the last call."""
        try:
            with self._path.open("rb") as file:
                facts = os.fstat(file.fileno())
                if facts.st_ino != self._inode or facts.st_size < self._position:
                    self._inode, self._position, self._rest = facts.st_ino, 0, b""
                file.seek(self._position)
                content = file.read()
        except FileNotFoundError:
            return []
        self._position += len(content)
        *lines, self._rest = (self._rest + content).split(b"\n")
        return [line.decode(errors="replace") for line in lines]


def _find_logs(name: str) -> dict[str, Path]:
    registry = Registry()
    with contextlib.suppress(SessionFailed):
        registry.read(name)
    files = {"keeper": "keeper", "agent": "agent", "sandbox": "runtime"}
    return {container: registry.folder(name) / f"{file}.log" for container, file in files.items()}


def endpoint_of(record: Record) -> Endpoint:
    """Return the endpoint of a session that is Ready."""
    if record.run is None:
        raise AssertionError("a session that is Ready has a run")
    return local_endpoint(record.run.address, record.run.ca_certificate.encode(), record.run.token)


def access_files(record: Record) -> tuple[Path, Path]:
    """Return the files with the CA's certificate and with the token of a session that is Ready."""
    folder = Registry().folder(record.name)
    return folder / "ca.crt", folder / "token"


def describe_failure(record: Record) -> str:
    """Return why a session failed, how to look at its log, and what to do."""
    address = record.address
    return (
        f"{address} has failed: {record.problem.rstrip('.')}. See its log: sandbox logs {address}. Start it again with "
        f"its files: sandbox resume {address}. Or remove it: sandbox delete {address}"
    )
