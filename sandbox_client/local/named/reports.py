"""Describes local sessions: their list, endpoints, logs and failures. Changes nothing."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sandbox_client.errors import SandboxError, SessionFailed
from sandbox_client.local.named.record import Phase, Record
from sandbox_client.local.named.registry import Registry
from sandbox_client.local.session import local_endpoint

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox_client.transport.endpoint import Endpoint


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


def read_logs(name: str, tail: int) -> dict[str, str]:
    """Return the last lines of a session's logs, by container: `agent` and `sandbox`, as in a cluster, and `keeper`.

    Args:
        name: The session's name.
        tail: Maximum number of lines of each.

    Raises:
        NotFound: There is no session of that name.
    """
    registry = Registry()
    with contextlib.suppress(SessionFailed):
        registry.read(name)
    texts = {}
    for container, file in (("keeper", "keeper"), ("agent", "agent"), ("sandbox", "runtime")):
        with contextlib.suppress(FileNotFoundError):
            lines = (registry.folder(name) / f"{file}.log").read_text(errors="replace").splitlines(keepends=True)
            texts[container] = "".join(lines[-tail:])
    return texts


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
