"""From a binding, as the operator sends it, to the workspace that it names."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sandbox_agent.session.limits import duration_seconds
from sandbox_agent.storage.autosave import Pace
from sandbox_agent.storage.backends.directory.store import DirectoryStore
from sandbox_agent.storage.backends.s3.client import read_settings
from sandbox_agent.storage.backends.s3.store import S3Store
from sandbox_agent.storage.repository.keys import Keys, NameRefusedError
from sandbox_agent.storage.workspace import Workspace
from sandbox_link.protocol import OperationError

if TYPE_CHECKING:
    from sandbox_agent.storage.backends.object_store import ObjectStore
    from sandbox_link.protocol import Runtime
    from sandbox_proto.v1 import session_pb2


def build_workspace(binding: session_pb2.WorkspaceBinding, runtime: Runtime, writer: str) -> Workspace:
    """The workspace that a binding names.

    Args:
        binding: With a store.
        runtime: Has the files.
        writer: Name of this session: what tells its own interrupted push from another's.

    Raises:
        OperationError: INVALID_ARGUMENT, field `workspace.key_prefix`, `workspace.store` or
            `workspace.max_staleness`.
    """
    store: ObjectStore
    if binding.WhichOneof("store") == "s3":
        store = S3Store(read_settings(binding.s3))
    elif binding.WhichOneof("store") == "directory" and binding.directory.path:
        store = DirectoryStore(binding.directory.path)
    else:
        raise OperationError("INVALID_ARGUMENT", "INVALID_ARGUMENT", "a workspace needs a store", "workspace.store")
    try:
        keys = Keys(binding.key_prefix)
    except NameRefusedError as error:
        raise OperationError("INVALID_ARGUMENT", "INVALID_ARGUMENT", str(error), "workspace.key_prefix") from error
    staleness = duration_seconds(binding.max_staleness)
    if math.isnan(staleness):
        message = "max_staleness has nanoseconds out of range"
        raise OperationError("INVALID_ARGUMENT", "INVALID_ARGUMENT", message, "workspace.max_staleness")
    pace = Pace() if binding.save_on_change else None
    return Workspace(store, keys, runtime, writer, tuple(binding.exclude), staleness, pace)
