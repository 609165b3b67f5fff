"""Scans the workspace. If the runtime still has the last scan, it reports only differences.

Every scan still reads every file's status in the sandbox. The runtime is untrusted.

Errors: OperationError from the runtime, or INTERNAL for an answer that violates docs/link.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sandbox_agent.storage.repository.manifest import MAX_FILES
from sandbox_agent.storage.sandbox.file_info import breach, read_local
from sandbox_agent.storage.timeouts import cancel_call, read_items
from sandbox_link.protocol import Data, Event, OperationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sandbox_agent.storage.sandbox.file_info import LocalEntry
    from sandbox_link.protocol import Runtime

_MAX_TOKEN: Final = 64


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

    async def scan(self, paths: Sequence[str], exclude: Sequence[str]) -> list[LocalEntry]:
        """Return the files, symlinks and empty folders at or below `paths`. If it is empty, return all.

        Raises:
            OperationError: NOT_FOUND, FILE_NOT_FOUND, `paths`; RESOURCE_EXHAUSTED, TOO_MANY_FILES.
        """
        arguments = {"paths": list(paths), "exclude": list(exclude)}
        return list((await self._run_scan(arguments, {}))[0].values())

    async def scan_again(self, exclude: tuple[str, ...]) -> Mapping[str, LocalEntry]:
        """Return everything that is not excluded, by path, and remember it for the next scan.

        What did not change is the same object as in the last scan.

        Raises:
            OperationError: RESOURCE_EXHAUSTED, TOO_MANY_FILES.
        """
        last = self._last if self._last.exclude == exclude else _Scan(exclude)
        found, result = await self._run_scan({"paths": [], "exclude": list(exclude), "since": last.token}, last.found)
        token = result.get("token")
        is_named = isinstance(token, str) and len(token) <= _MAX_TOKEN
        self._last = _Scan(exclude, token, found) if isinstance(token, str) and is_named else _Scan()
        return found

    async def _run_scan(
        self, arguments: dict[str, Any], before: Mapping[str, LocalEntry]
    ) -> tuple[dict[str, LocalEntry], dict[str, Any]]:
        """Return what the scan found, and the runtime's answer. Merges differences into `before`."""
        call = await self._runtime.open("workspace.scan", arguments)
        found: dict[str, LocalEntry] = {}
        deleted: set[str] = set()
        try:
            await call.end()
            async for item in read_items(call):
                for info in _listed(item, "entries", "entries"):
                    local = read_local(info)
                    found[local.path] = local
                deleted.update(path for path in _listed(item, "gone", "paths") if isinstance(path, str))
                _check_count(max(len(found), len(deleted)))
        except BaseException:
            await cancel_call(call)
            raise
        if call.result.get("is_difference") is True and arguments.get("since"):
            found = {**before, **found}
            for path in deleted:
                found.pop(path, None)
            _check_count(len(found))
        return found, call.result


def _listed(item: Data | Event, kind: str, name: str) -> list[Any]:
    if not isinstance(item, Event) or item.value.get("type") != kind:
        return []
    listed = item.value.get(name)
    if not isinstance(listed, list):
        raise breach(f"a scan has no list of {name}")
    return listed


def _check_count(count: int) -> None:
    if count > MAX_FILES:
        message = f"the workspace has more than {MAX_FILES} files: remove some, or exclude their folder"
        raise OperationError("RESOURCE_EXHAUSTED", "TOO_MANY_FILES", message)
