"""Scans the workspace. If the runtime still has the last scan, it reports only differences.

Every scan still reads every file's status in the sandbox. The runtime is untrusted.

Errors: OperationError from the runtime, or INTERNAL for an answer that violates docs/link.md.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sandbox_agent.storage.repository.keys import printable
from sandbox_agent.storage.repository.manifest import MAX_FILES, MAX_TARGET
from sandbox_agent.storage.sandbox.file_info import breach, read_local
from sandbox_agent.storage.timeouts import Pace, cancel_call
from sandbox_link.protocol import Data, Event, OperationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sandbox_agent.storage.sandbox.file_info import LocalEntry
    from sandbox_link.protocol import Runtime

_MAX_TOKEN: Final = 64
_MAX_REASON: Final = 1024
_MAX_COUNT: Final = 1 << 40
_MAX_LEFT_OUT: Final = 1000
"""Paths that a scan may leave out by name. The runtime names 500."""
MAX_NAME_BYTES: Final = 64 << 20
"""Bytes of memory for all paths and targets of a scan. 200,000 paths may have 270 letters each."""


@dataclass(frozen=True, slots=True)
class Scanned:
    """The result of one scan."""

    found: Mapping[str, LocalEntry]
    """Files, symlinks and empty folders by path."""
    left_out: Sequence[tuple[str, str]] = ()
    """Paths that the sandbox could not describe, with reasons: unreadable folders and what has too long a path. They
    stand for everything below them. A last one without a path counts those that are not named."""


@dataclass(frozen=True, slots=True)
class _Scan:
    """The result of the last full scan."""

    exclude: tuple[str, ...] = ()
    token: str = ""
    found: Mapping[str, LocalEntry] = field(default_factory=dict)


class Scanner:
    """A scanner of one sandbox, which remembers the last full scan."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._last = _Scan()

    async def scan(self, paths: Sequence[str], exclude: Sequence[str]) -> Scanned:
        """Return the files, symlinks and empty folders at or below `paths`. If it is empty, return all.

        Raises:
            OperationError: NOT_FOUND, FILE_NOT_FOUND, `paths`; RESOURCE_EXHAUSTED, TOO_MANY_FILES.
        """
        arguments = {"paths": list(paths), "exclude": list(exclude)}
        return (await self._run_scan(arguments, {}))[0]

    async def scan_again(self, exclude: tuple[str, ...]) -> Scanned:
        """Return everything that is not excluded, and remember it for the next scan.

        What did not change is the same object as in the last scan.

        Raises:
            OperationError: RESOURCE_EXHAUSTED, TOO_MANY_FILES.
        """
        last = self._last if self._last.exclude == exclude else _Scan(exclude)
        scanned, result = await self._run_scan({"paths": [], "exclude": list(exclude), "since": last.token}, last.found)
        token = result.get("token")
        is_named = isinstance(token, str) and len(token) <= _MAX_TOKEN
        self._last = _Scan(exclude, token, scanned.found) if isinstance(token, str) and is_named else _Scan()
        return scanned

    async def _run_scan(
        self, arguments: dict[str, Any], before: Mapping[str, LocalEntry]
    ) -> tuple[Scanned, dict[str, Any]]:
        """Return what the scan found, and the runtime's answer. Merges differences into `before`."""
        call = await self._runtime.open("workspace.scan", arguments)
        found: dict[str, LocalEntry] = {}
        deleted: set[str] = set()
        left_out: list[tuple[str, str]] = []
        pace, listed, name_bytes = Pace(), 0, 0
        try:
            await call.end()
            async for item in pace.items(call):
                for info in _listed(item, "entries", "entries"):
                    local = read_local(info)
                    found[local.path] = local
                    name_bytes += _weigh(local)
                deleted.update(
                    path for path in _listed(item, "gone", "paths") if isinstance(path, str) and path in before
                )
                left_out += [_read_left_out(each) for each in _listed(item, "left_out", "paths")]
                _check_count(len(found), len(left_out))
                _check_name_bytes(name_bytes)
                now_listed = len(found) + len(deleted) + len(left_out)
                pace.note_found(now_listed - listed)
                listed = now_listed
        except BaseException:
            await cancel_call(call)
            raise
        if call.result.get("is_difference") is True and arguments.get("since"):
            found = {**before, **found}
            for path in deleted:
                found.pop(path, None)
            _check_count(len(found), len(left_out))
            _check_name_bytes(sum(map(_weigh, found.values())))
        count = call.result.get("left_out", 0)
        if isinstance(count, bool) or not isinstance(count, int) or not len(left_out) <= count <= _MAX_COUNT:
            raise breach("a scan miscounts what it left out")
        if count > len(left_out):
            left_out.append(("", f"{count - len(left_out)} more files or folders could not be described"))
        return Scanned(found, left_out), call.result


def _listed(item: Data | Event, kind: str, name: str) -> list[Any]:
    if not isinstance(item, Event) or item.value.get("type") != kind:
        return []
    listed = item.value.get(name)
    if not isinstance(listed, list):
        raise breach(f"a scan has no list of {name}")
    return listed


def _read_left_out(value: Any) -> tuple[str, str]:
    path, reason = (value.get("path"), value.get("reason")) if isinstance(value, dict) else (None, None)
    if not isinstance(path, str) or not isinstance(reason, str) or len(path) > MAX_TARGET:
        raise breach("a scan left out something without a path and a reason")
    return path, printable(reason[:_MAX_REASON])


def _check_count(count: int, left_out: int) -> None:
    if left_out > _MAX_LEFT_OUT:
        raise breach(f"a scan names more than {_MAX_LEFT_OUT} paths that it left out")
    if count > MAX_FILES:
        message = f"the workspace has more than {MAX_FILES} files: remove some, or exclude their folder"
        raise OperationError("RESOURCE_EXHAUSTED", "TOO_MANY_FILES", message)


def _weigh(local: LocalEntry) -> int:
    metadata = sum(sys.getsizeof(text) for pair in local.metadata for text in (pair, *pair))
    return sys.getsizeof(local.path) + sys.getsizeof(local.symlink_target) + metadata


def _check_name_bytes(size: int) -> None:
    if size > MAX_NAME_BYTES:
        message = (
            f"the names of the workspace's files need more than {MAX_NAME_BYTES >> 20} MiB: "
            "shorten them, remove some files, or exclude their folder"
        )
        raise OperationError("RESOURCE_EXHAUSTED", "TOO_MANY_FILES", message)
