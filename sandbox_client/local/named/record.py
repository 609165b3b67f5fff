"""A local session on disk: session.json in the session's folder, and the request that it is made from."""

from __future__ import annotations

import dataclasses
import enum
import json
import time
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.errors import Conflict, InvalidArgument, SessionFailed
from sandbox_client.local.check import check_options
from sandbox_client.local.durations import seconds_of
from sandbox_client.local.named.state_files import data_home, write_private

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox_client.lifecycle.durations import Duration
    from sandbox_client.options import LocalOptions

VERSION: Final = 1
"""Format of session.json."""
IDLE_TIMEOUT: Final = "4h"
LIFETIME: Final = "24h"


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
        on_expiry: What happens at the end of the lifetime: `suspend` or `delete`.
        notes: What the program that created it keeps with it; the gateway keeps a client's metadata here.
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
    on_expiry: str = "suspend"
    notes: dict[str, Any] = dataclasses.field(default_factory=dict)

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


@dataclasses.dataclass(frozen=True, slots=True)
class LocalRequest:
    """A session to create.

    Attributes:
        name: Its name, without `local/`.
        workspace: The folder that the code works in; one in the session's own folder if None.
        store: The folder for pushed files; `$XDG_DATA_HOME/sandbox/store` if None.
        idle_timeout: Time without use until `on_idle` happens: seconds, or text such as `15m`.
        lifetime: Time from a start until `on_expiry` happens.
        on_idle: `suspend` or `delete`.
        on_expiry: `suspend` or `delete`.
        notes: Kept in the record.
    """

    name: str
    workspace: Path | None = None
    store: Path | None = None
    idle_timeout: Duration = IDLE_TIMEOUT
    lifetime: Duration = LIFETIME
    on_idle: str = "suspend"
    on_expiry: str = "suspend"
    notes: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def make_record(folder: Path, request: LocalRequest, options: LocalOptions) -> Record:
    """Return the record of a new session in this folder. Errors as for `operations.create`."""
    name = request.name
    for field, choice in (("on_idle", request.on_idle), ("on_expiry", request.on_expiry)):
        if choice not in ("suspend", "delete"):
            raise InvalidArgument(f"{choice!r} is neither 'suspend' nor 'delete'", field=field)
    if options["keep_variables"] and request.workspace is not None:
        raise InvalidArgument(
            "variables are restored together with the saved files, which would replace changes that you make in your "
            "own workspace folder meanwhile: leave out one of keep_variables and workspace",
            field="keep_variables",
        )
    store = request.store.absolute() if request.store else _default_store()
    workspace = request.workspace.absolute() if request.workspace else folder / "workspace"
    stored = {**options, "name": name, "on_progress": None}
    check_options(workspace, store, stored)  # type: ignore[arg-type]
    if request.workspace and _has_entries(workspace) and _has_entries(stored_files(store, name)):
        raise Conflict(
            f"{stored_files(store, name)} has files of an earlier local/{name}, which would replace files of the same "
            f"names in {workspace}. Choose another name or store, an empty workspace folder, or remove the former",
            reason="ALREADY_EXISTS",
            field="workspace",
        )
    env = options["env"]
    return Record(
        name=name,
        uid=str(uuid.uuid4()),
        created_at=time.time(),
        workspace=str(workspace),
        store=str(store),
        options={**stored, "env": dict(env) if isinstance(env, Mapping) else env},
        idle_timeout=seconds_of(request.idle_timeout, "idle_timeout"),
        lifetime=seconds_of(request.lifetime, "lifetime"),
        on_idle=request.on_idle,
        on_expiry=request.on_expiry,
        notes=dict(request.notes),
    )


def _default_store() -> Path:
    store = data_home() / "store"
    store.mkdir(mode=0o700, parents=True, exist_ok=True)
    return store


def stored_files(store: Path, name: str) -> Path:
    """Return the folder with the pushed files of a session."""
    return store / "local" / name


def _has_entries(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())
