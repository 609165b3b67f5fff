"""Validates values in the runtime's JSON before the agent uses them: the runtime is untrusted. Pure.

Errors: every reader raises FrameError for a value of the wrong type or size, as for other violations of the link's
protocol. `checking_answer` turns it into the error of a call.
"""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any, Final

from google.protobuf.duration_pb2 import Duration

from sandbox_agent.session.limits import LANGUAGE_NAMES
from sandbox_link.frames import FrameError
from sandbox_link.protocol import OperationError
from sandbox_proto.v1 import interpreter_pb2, types_pb2

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_TEXT: Final = 64 << 10
"""Characters of a text that are passed on; the rest is cut off."""
MAX_NAME: Final = 256
"""Characters of the name of a user or a group."""
MAX_METADATA_KEYS: Final = 64
MAX_METADATA: Final = 4096
"""Characters of a key or value of a file's metadata."""
MAX_VARIABLES: Final = 300
"""Names of each kind in a report of variables."""
MAX_REASON: Final = 512
"""Characters."""
_MAX_SECONDS: Final = 10.0 * 365 * 86400
_MAX_U32: Final = (1 << 32) - 1
_MAX_COUNT: Final = (1 << 62) - 1
"""Counts are added up, and the sum must still fit into 64 bits."""
_MAX_I64: Final = (1 << 63) - 1
_MAX_TIMESTAMP_NS: Final = 253_402_300_799 * 10**9
"""The end of the year 9999, where protobuf's Timestamps end."""
_MODE_BITS: Final = 0o7777
_LANGUAGES: Final = {name: number for number, name in LANGUAGE_NAMES.items()}
_EXIT_STATUSES: Final = {
    "OK": types_pb2.EXIT_STATUS_OK,
    "ERROR": types_pb2.EXIT_STATUS_ERROR,
    "INTERRUPTED": types_pb2.EXIT_STATUS_INTERRUPTED,
    "TIMED_OUT": types_pb2.EXIT_STATUS_TIMED_OUT,
    "OOM_KILLED": types_pb2.EXIT_STATUS_OOM_KILLED,
    "KILLED": types_pb2.EXIT_STATUS_KILLED,
}
_FILE_TYPES: Final = {
    "file": types_pb2.FILE_TYPE_FILE,
    "directory": types_pb2.FILE_TYPE_DIRECTORY,
    "symlink": types_pb2.FILE_TYPE_SYMLINK,
    "other": types_pb2.FILE_TYPE_OTHER,
}


@contextlib.contextmanager
def checking_answer() -> Iterator[None]:
    """Fail the call if the block finds a malformed value in the runtime's answer.

    Raises:
        OperationError: UNAVAILABLE, RUNTIME_UNAVAILABLE, in place of a FrameError.
    """
    try:
        yield
    except FrameError as error:
        message = f"the sandbox's runtime sent a malformed answer ({error}): try again"
        raise OperationError("UNAVAILABLE", "RUNTIME_UNAVAILABLE", message) from error


def protobuf_text(value: str, limit: int = MAX_TEXT) -> str:
    """Return the first `limit` characters as a string that protobuf accepts.

    Lone surrogates (bytes that were not UTF-8) become escapes, so the result may be longer than `limit`.
    """
    return value[:limit].encode("utf-8", "backslashreplace").decode()


def read_text(value: Mapping[str, Any], name: str, limit: int = MAX_TEXT) -> str:
    """Return a string, or "" if it is missing."""
    found = value.get(name, "")
    if not isinstance(found, str):
        raise FrameError(f"{name} is not a string")
    return protobuf_text(found, limit)


def read_optional_text(value: Mapping[str, Any], name: str, limit: int = MAX_TEXT) -> str:
    """Return a string, or "" if it is missing or null."""
    return "" if value.get(name) is None else read_text(value, name, limit)


def read_boolean(value: Mapping[str, Any], name: str) -> bool:
    """Return a boolean, or False if it is missing."""
    found = value.get(name, False)
    if not isinstance(found, bool):
        raise FrameError(f"{name} is not a boolean")
    return found


def read_integer(value: Mapping[str, Any], name: str, low: int = 0, high: int = _MAX_U32) -> int:
    """Return an integer from `low` to `high`, or 0 if it is missing or null."""
    found = value.get(name)
    if found is None:
        return 0
    if not isinstance(found, int) or isinstance(found, bool) or not low <= found <= high:
        raise FrameError(f"{name} is not an integer from {low} to {high}")
    return found


def read_count(value: Mapping[str, Any], name: str) -> int:
    """Return a count of bytes or things below 2^62, or 0 if it is missing."""
    return read_integer(value, name, 0, _MAX_COUNT)


def read_seconds(value: Mapping[str, Any], name: str) -> Duration:
    """Return a number of seconds as a Duration from 0 to ten years, 0 if it is missing."""
    found = value.get(name, 0)
    if not isinstance(found, int | float) or isinstance(found, bool):
        raise FrameError(f"{name} is not a number of seconds")
    # Only floats: isfinite raises OverflowError for an integer that is larger than any float.
    if isinstance(found, float) and not math.isfinite(found):
        raise FrameError(f"{name} is not a number of seconds")
    duration = Duration()
    duration.FromNanoseconds(int(min(max(found, 0.0), _MAX_SECONDS) * 1e9))
    return duration


def read_strings(value: Mapping[str, Any], name: str, limit: int) -> list[str]:
    """Return the first `limit` entries of a list of strings."""
    found = value.get(name, [])
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise FrameError(f"{name} is not a list of strings")
    return [protobuf_text(item) for item in found[:limit]]


def read_objects(value: Mapping[str, Any], name: str, limit: int) -> list[dict[str, Any]]:
    """Return a list of at most `limit` objects; a longer list is an error."""
    found = value.get(name)
    if not isinstance(found, list) or len(found) > limit or not all(isinstance(item, dict) for item in found):
        raise FrameError(f"{name} is not a list of at most {limit} objects")
    return found


def read_object(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return an object."""
    found = value.get(name)
    if not isinstance(found, dict):
        raise FrameError(f"{name} is not an object")
    return found


def read_exit_status(value: Mapping[str, Any]) -> types_pb2.ExitStatus:
    """Return the `status` of an execution or process that ended."""
    status = _EXIT_STATUSES.get(read_text(value, "status"))
    if status is None:
        raise FrameError("unknown exit status")
    return status


def read_file_info(value: Mapping[str, Any]) -> types_pb2.FileInfo:
    """Return an `info` object as a message."""
    kind = _FILE_TYPES.get(read_text(value, "type"))
    if kind is None:
        raise FrameError("unknown file type")
    info = types_pb2.FileInfo(
        path=read_text(value, "path"),
        type=kind,
        size=read_count(value, "size"),
        mode=read_integer(value, "mode") & _MODE_BITS,
        symlink_target=read_optional_text(value, "symlink_target"),
        owner=read_optional_text(value, "owner", MAX_NAME),
        group=read_optional_text(value, "group", MAX_NAME),
    )
    if "metadata" in value:
        info.metadata.update(_read_metadata(value))
    nanoseconds = read_integer(value, "mtime_ns", -_MAX_I64, _MAX_I64)
    # A file may have any time; a Timestamp is bounded.
    info.modified.FromNanoseconds(min(max(nanoseconds, 0), _MAX_TIMESTAMP_NS))
    return info


def _read_metadata(value: Mapping[str, Any]) -> dict[str, str]:
    found = read_object(value, "metadata")
    if len(found) > MAX_METADATA_KEYS or not all(isinstance(text, str) for text in found.values()):
        raise FrameError(f"metadata is not a map of at most {MAX_METADATA_KEYS} texts")
    return {protobuf_text(key, MAX_METADATA): protobuf_text(text, MAX_METADATA) for key, text in found.items()}


def read_context(value: Mapping[str, Any]) -> interpreter_pb2.Context:
    """Return a context object as a message."""
    language = _LANGUAGES.get(read_text(value, "language"))
    if language is None:
        raise FrameError("unknown language")
    return interpreter_pb2.Context(
        id=read_text(value, "id"),
        language=language,
        cwd=read_text(value, "cwd"),
        busy=read_boolean(value, "busy"),
        execution_count=read_integer(value, "execution_count"),
    )


def read_kept_variables(value: Mapping[str, Any]) -> interpreter_pb2.KeptVariables:
    """Return a report of variables as a message."""
    kept, lost = (_read_rows(value, name, width) for name, width in (("kept", 2), ("lost", 3)))
    omitted = value.get("omitted")
    if not isinstance(omitted, list) or len(omitted) != len(("kept", "lost")):
        raise FrameError("omitted is not a pair of counts")
    counts = {"kept": omitted[0], "lost": omitted[1]}
    return interpreter_pb2.KeptVariables(
        kept=[interpreter_pb2.Variable(context_id=context_id, name=name) for context_id, name in kept],
        lost=[
            interpreter_pb2.LostVariable(context_id=context_id, name=name, reason=reason)
            for context_id, name, reason in lost
        ],
        kept_omitted=read_count(counts, "kept"),
        lost_omitted=read_count(counts, "lost"),
        problem=read_text(value, "problem", MAX_REASON),
    )


def _read_rows(value: Mapping[str, Any], name: str, width: int) -> list[list[str]]:
    rows = value.get(name)
    if not isinstance(rows, list) or len(rows) > MAX_VARIABLES:
        raise FrameError(f"{name} is not a list of at most {MAX_VARIABLES} rows")
    for row in rows:
        if not isinstance(row, list) or len(row) != width or not all(isinstance(cell, str) for cell in row):
            raise FrameError(f"{name} has a row that is not {width} strings")
    return [[protobuf_text(cell, MAX_REASON) for cell in row] for row in rows]
