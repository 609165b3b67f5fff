"""Checks that a local session can start on this machine, with these options."""

from __future__ import annotations

import importlib.util
import sys
from typing import TYPE_CHECKING, Final

from sandbox_client.errors import InvalidArgument, SessionFailed
from sandbox_client.models.sizes import read_size
from sandbox_proto.extras import install_command

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox_client.options import LocalOptions

_NEEDED: Final = ("sandbox_agent", "cryptography", "boto3", "IPython")
_MAX_SECONDS: Final = 10 * 365 * 24 * 3600
"""Ten years: the protocol has no word for no limit."""


def check_options(workspace: Path | None, store: Path | None, options: LocalOptions) -> None:
    """Check that a session can start with these options. Errors as for `start_local`."""
    if sys.platform != "linux":
        raise SessionFailed(
            f"a local session needs Linux, and this is {sys.platform}: on Windows use WSL 2, on a Mac a Linux"
            " container; sessions in a cluster work from here",
            reason="UNSUPPORTED_PLATFORM",
        )
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise SessionFailed(
            f"a local session needs {', '.join(missing)}. Run: {install_command('local')}", reason="EXTRA_MISSING"
        )
    if options["egress"] not in ("public", "none"):
        raise InvalidArgument(f"egress is {options['egress']!r}: use 'public' or 'none'", field="egress")
    for field, size in (("memory_limit", options["memory_limit"]), ("file_size_limit", options["file_size_limit"])):
        read_size(size, field)
    if options["sync"] not in ("manual", "on_change"):
        raise InvalidArgument(f"sync is {options['sync']!r}: use 'manual' or 'on_change'", field="sync")
    seconds = options["execution_timeout"]
    if seconds is not None and not 0 < seconds <= _MAX_SECONDS:
        message = f"execution_timeout is {seconds}: give a number of seconds from 0 to {_MAX_SECONDS:,}"
        raise InvalidArgument(message, field="execution_timeout")
    name = options["name"]
    if not name or name in (".", "..") or any(c in name for c in "/\\\0"):
        raise InvalidArgument(f"a session cannot have the name {name!r}: give one without / and \\", field="name")
    for field, folder in (("workspace", workspace), ("store", store)):
        if folder is not None and folder.exists() and not folder.is_dir():
            raise InvalidArgument(f"{field} is {folder}, which is a file: name a folder", field=field)
