"""Values of the runtime's JSON, checked for type and bounds before use. Pure.

Errors: FrameError, as for any other breach of the link's protocol.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from sandbox_agent.session.limits import LANGUAGE_NAMES
from sandbox_link.frames import FrameError
from sandbox_proto.v1 import interpreter_pb2, types_pb2

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.protobuf.duration_pb2 import Duration

MAX_TEXT: Final = 64 << 10
"""Characters of a text that are passed on."""
MAX_VARIABLES: Final = 300
"""Names in a report of variables, of each kind."""
MAX_REASON: Final = 512
_MAX_SECONDS: Final = 10.0 * 365 * 86400
_U32: Final = (1 << 32) - 1
_MAX_COUNT: Final = (1 << 62) - 1
"""Counts are added up, and what comes of it must still fit into 64 bits."""
_I64: Final = (1 << 63) - 1
_MODE: Final = 0o7777
_LANGUAGES: Final = {name: number for number, name in LANGUAGE_NAMES.items()}
_STATUS: Final = {
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


def printable(value: str, limit: int = MAX_TEXT) -> str:
    """A string that protobuf accepts: bounded, lone surrogates (bytes that were not UTF-8) written as escapes."""
    return value[:limit].encode("utf-8", "backslashreplace").decode()


def text(value: Mapping[str, Any], name: str, limit: int = MAX_TEXT) -> str:
    """A string, "" where it is missing."""
    found = value.get(name, "")
    if not isinstance(found, str):
        raise FrameError(f"{name} is no string")
    return printable(found, limit)


def boolean(value: Mapping[str, Any], name: str) -> bool:
    """A boolean, False where it is missing."""
    found = value.get(name, False)
    if not isinstance(found, bool):
        raise FrameError(f"{name} is no boolean")
    return found


def integer(value: Mapping[str, Any], name: str, low: int = 0, high: int = _U32) -> int:
    """An integer within bounds, 0 where it is missing or null."""
    found = value.get(name)
    if found is None:
        return 0
    if not isinstance(found, int) or isinstance(found, bool) or not low <= found <= high:
        raise FrameError(f"{name} is no integer from {low} to {high}")
    return found


def count(value: Mapping[str, Any], name: str) -> int:
    """A count of bytes or things, below 2^62; 0 where it is missing."""
    return integer(value, name, 0, _MAX_COUNT)


def seconds(value: Mapping[str, Any], name: str) -> Duration:
    """Seconds as a Duration, 0 where missing."""
    found = value.get(name, 0)
    if not isinstance(found, int | float) or isinstance(found, bool):
        raise FrameError(f"{name} is no number of seconds")
    # Of integers isfinite fails with OverflowError where they are longer than any float.
    if isinstance(found, float) and not math.isfinite(found):
        raise FrameError(f"{name} is no number of seconds")
    duration = interpreter_pb2.ExecutionCompleted().duration
    duration.FromNanoseconds(int(min(max(found, 0.0), _MAX_SECONDS) * 1e9))
    return duration


def strings(value: Mapping[str, Any], name: str, most: int) -> list[str]:
    """A list of strings, cut at `most`."""
    found = value.get(name, [])
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise FrameError(f"{name} is no list of strings")
    return [printable(item) for item in found[:most]]


def objects(value: Mapping[str, Any], name: str, most: int) -> list[dict[str, Any]]:
    """A list of objects, at most `most`."""
    found = value.get(name)
    if not isinstance(found, list) or len(found) > most or not all(isinstance(item, dict) for item in found):
        raise FrameError(f"{name} is no list of at most {most} objects")
    return found


def mapping(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    """An object."""
    found = value.get(name)
    if not isinstance(found, dict):
        raise FrameError(f"{name} is no object")
    return found


def exit_status(value: Mapping[str, Any]) -> types_pb2.ExitStatus:
    """The `status` of an end."""
    status = _STATUS.get(text(value, "status"))
    if status is None:
        raise FrameError("an unknown status")
    return status


def file_info(value: Mapping[str, Any]) -> types_pb2.FileInfo:
    """An `info` object."""
    kind = _FILE_TYPES.get(text(value, "type"))
    if kind is None:
        raise FrameError("an unknown type of file")
    info = types_pb2.FileInfo(
        path=text(value, "path"),
        type=kind,
        size=count(value, "size"),
        mode=integer(value, "mode") & _MODE,
        symlink_target=text(value, "symlink_target") if value.get("symlink_target") is not None else "",
    )
    nanoseconds = integer(value, "mtime_ns", -_I64, _I64)
    # Timestamps end in the year 9999; a file's time may be anything.
    info.modified.FromNanoseconds(min(max(nanoseconds, 0), 253_402_300_799 * 10**9))
    return info


def context(value: Mapping[str, Any]) -> interpreter_pb2.Context:
    """A context object."""
    language = _LANGUAGES.get(text(value, "language"))
    if language is None:
        raise FrameError("an unknown language")
    return interpreter_pb2.Context(
        id=text(value, "id"),
        language=language,
        cwd=text(value, "cwd"),
        busy=boolean(value, "busy"),
        execution_count=integer(value, "execution_count"),
    )


def kept_variables(value: Mapping[str, Any]) -> interpreter_pb2.KeptVariables:
    """A report of variables."""
    kept, lost = (_rows(value, name, width) for name, width in (("kept", 2), ("lost", 3)))
    omitted = value.get("omitted")
    if not isinstance(omitted, list) or len(omitted) != len(("kept", "lost")):
        raise FrameError("omitted is no pair of counts")
    counts = {"kept": omitted[0], "lost": omitted[1]}
    return interpreter_pb2.KeptVariables(
        kept=[interpreter_pb2.Variable(context_id=context_id, name=name) for context_id, name in kept],
        lost=[
            interpreter_pb2.LostVariable(context_id=context_id, name=name, reason=reason)
            for context_id, name, reason in lost
        ],
        kept_omitted=count(counts, "kept"),
        lost_omitted=count(counts, "lost"),
        problem=text(value, "problem", MAX_REASON),
    )


def _rows(value: Mapping[str, Any], name: str, width: int) -> list[list[str]]:
    rows = value.get(name)
    if not isinstance(rows, list) or len(rows) > MAX_VARIABLES:
        raise FrameError(f"{name} is no list of at most {MAX_VARIABLES} rows")
    for row in rows:
        if not isinstance(row, list) or len(row) != width or not all(isinstance(cell, str) for cell in row):
            raise FrameError(f"{name} has a row that is not {width} strings")
    return [[printable(cell, MAX_REASON) for cell in row] for row in rows]
