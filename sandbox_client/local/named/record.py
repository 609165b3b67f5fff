"""A local session on disk: session.json in the session's folder."""

from __future__ import annotations

import dataclasses
import enum
import json
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.errors import SessionFailed
from sandbox_client.local.named.state_files import write_private

if TYPE_CHECKING:
    from pathlib import Path

VERSION: Final = 1
"""Format of session.json."""


class Phase(enum.StrEnum):
    """Phases of a local session, with the names of a cluster's."""

    PENDING = "Pending"
    READY = "Ready"
    SUSPENDED = "Suspended"
    FAILED = "Failed"


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """One run of a session, from its start to its end.

    Attributes:
        folder: The folder with sockets and certificates.
        address: `host:port` of the agent.
        token: The access token.
        server_name: The name in the agent's certificate.
        ca_certificate: PEM of the CA that signed it.
        started_at: Unix time.
        expires_at: Unix time at which the session is suspended.
    """

    folder: str
    address: str
    token: str = dataclasses.field(repr=False)
    server_name: str
    ca_certificate: str = dataclasses.field(repr=False)
    started_at: float
    expires_at: float


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """A session, as session.json describes it.

    Attributes:
        name: The session's name, without `local/`.
        uid: Differs from that of an earlier session of the same name.
        created_at: Unix time.
        workspace: The folder that the code works in.
        store: The folder that replaces object storage.
        options: LocalOptions that can be stored.
        idle_timeout: Seconds without use until `on_idle` happens.
        lifetime: Seconds from a start to the suspend.
        on_idle: `suspend` or `delete`.
        phase: The last phase that was written. `Registry.read` corrects it.
        was_saved: Whether the last run ended with a complete save.
        problem: Why the session failed, or what its end did not save; "" if nothing.
        run: The current or the last run.
    """

    name: str
    uid: str
    created_at: float
    workspace: str
    store: str
    options: dict[str, Any]
    idle_timeout: float
    lifetime: float
    on_idle: str
    phase: Phase = Phase.PENDING
    was_saved: bool = False
    problem: str = ""
    run: Run | None = None

    @property
    def address(self) -> str:
        """`local/NAME`."""
        return f"local/{self.name}"


def load_record(folder: Path) -> Record:
    """Read session.json.

    Raises:
        FileNotFoundError: There is none.
        SessionFailed: It is damaged, or from a newer version of this program.
    """
    text = (folder / "session.json").read_text()
    try:
        values = json.loads(text)
        version = values.pop("version")
        if version == VERSION:
            run = values.pop("run")
            phase = Phase(values.pop("phase"))
            return Record(**values, phase=phase, run=None if run is None else Run(**run))
        problem = f"version {version}, and this program reads version {VERSION}"
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        problem = f"{type(error).__name__}: {error}"
    raise SessionFailed(
        f"{folder / 'session.json'} cannot be read ({problem}). Remove the session: sandbox delete local/{folder.name}",
        reason="BAD_RECORD",
    )


def save_record(folder: Path, record: Record) -> None:
    """Write session.json at once, readable for this user only."""
    values = {"version": VERSION, **dataclasses.asdict(record)}
    write_private(folder / "session.json", json.dumps(values, indent=1, default=str).encode())
