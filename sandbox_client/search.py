"""Finding files by name, lines by content, and watching for changes."""

from __future__ import annotations

import contextlib
import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, Literal, TypeVar

from sandbox_client.models.results import FileInfo, file_info, utc
from sandbox_client.transport.requests import checked_path
from sandbox_proto.v1 import file_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable
    from pathlib import PurePosixPath

    from sandbox_client.transport.connection import Connection

T = TypeVar("T")
_LIMITS: Final[dict[int, Literal["", "max_results", "timeout"]]] = {
    file_pb2.SearchSummary.LIMIT_MAX_RESULTS: "max_results",
    file_pb2.SearchSummary.LIMIT_TIMEOUT: "timeout",
}
_CHANGES: Final[dict[int, Literal["added", "modified", "removed", "overflow"]]] = {
    file_pb2.WatchResponse.CHANGE_ADDED: "added",
    file_pb2.WatchResponse.CHANGE_MODIFIED: "modified",
    file_pb2.WatchResponse.CHANGE_REMOVED: "removed",
    file_pb2.WatchResponse.CHANGE_OVERFLOW: "overflow",
}


@dataclass(frozen=True, slots=True)
class LineMatch:
    """A line that matches; `line` counts from 1, `text` has its first 500 characters."""

    path: str
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class SearchReport(Generic[T]):
    """What a search found.

    Attributes:
        matches: In the order of their paths.
        files: Files that were looked into, or paths that were found.
        skipped: Files that are binary or could not be read.
        limit: What ended the search early: `max_results` or `timeout`; empty where it went through everything.
    """

    matches: tuple[T, ...]
    files: int = 0
    skipped: int = 0
    limit: Literal["", "max_results", "timeout"] = ""


@dataclass(frozen=True, slots=True)
class FileChange:
    """Something happened to a path; `overflow` says that changes were lost: look anew, then watch anew."""

    change: Literal["added", "modified", "removed", "overflow"]
    path: str = ""
    at: dt.datetime | None = None


class FileSearches:
    """What `AsyncFiles` finds and watches."""

    _connection: Connection

    async def find(
        self,
        pattern: str = "",
        path: str | PurePosixPath = ".",
        *,
        exclude: Iterable[str] = (),
        max_results: int = 1_000,
        timeout: float = 30.0,  # noqa: ASYNC109 - the server enforces it
    ) -> SearchReport[FileInfo]:
        """Paths by name.

        Args:
            pattern: A glob on the path below `path`, such as `**/*.py`; without a slash, on the last name.
            path: The folder to look in.
            exclude: Globs of what is left out with everything below it.
            max_results: At most 10,000.
            timeout: Seconds, at most 300.

        Raises:
            NotFound: There is no such folder.
        """
        request = file_pb2.SearchRequest(
            path=checked_path(path),
            name_pattern=pattern,
            exclude=list(exclude),
            max_results=max_results,
            timeout=dt.timedelta(seconds=timeout),
        )
        return await self._search(request, lambda response: file_info(response.info))

    async def grep(
        self,
        pattern: str,
        path: str | PurePosixPath = ".",
        *,
        name_pattern: str = "",
        literal: bool = False,
        ignore_case: bool = False,
        exclude: Iterable[str] = (),
        max_results: int = 1_000,
        timeout: float = 30.0,  # noqa: ASYNC109 - the server enforces it
    ) -> SearchReport[LineMatch]:
        """Lines by content. Binary files are skipped.

        Args:
            pattern: A regular expression (Python's) that a line must match somewhere.
            path: The folder to look in.
            name_pattern: As for `find`: only files with such names.
            literal: The pattern is plain text.
            ignore_case: Capitals are as good as small letters.
            exclude: As for `find`.
            max_results: At most 10,000.
            timeout: Seconds, at most 300.

        Raises:
            InvalidArgument: `content_pattern` is no regular expression.
            NotFound: There is no such folder.
        """
        request = file_pb2.SearchRequest(
            path=checked_path(path),
            name_pattern=name_pattern,
            content_pattern=pattern,
            literal=literal,
            ignore_case=ignore_case,
            exclude=list(exclude),
            max_results=max_results,
            timeout=dt.timedelta(seconds=timeout),
        )
        return await self._search(request, lambda response: LineMatch(response.path, response.line, response.text))

    async def watch(
        self,
        path: str | PurePosixPath = ".",
        *,
        recursive: bool = True,
        on_ready: Callable[[], object] | None = None,
    ) -> AsyncGenerator[FileChange, None]:
        """Changes below a folder as they happen, until the iteration is left or the folder is gone.

        Args:
            path: The folder.
            recursive: Everything below it, not its own entries alone.
            on_ready: Called once everything that happens from then on will be told.

        Raises:
            NotFound: There is no such folder.
            ResourceExhausted: There are too many folders, or the changes were not taken fast enough.
        """
        request = file_pb2.WatchRequest(path=checked_path(path), recursive=recursive)
        async with contextlib.aclosing(self._connection.stream(self._connection.file.Watch, request)) as responses:
            async for response in responses:
                change = _CHANGES.get(response.change)
                if change is not None:
                    yield FileChange(change, response.path, utc(response, "at"))
                elif on_ready and response.change == file_pb2.WatchResponse.CHANGE_WATCHING:
                    on_ready()

    async def _search(
        self, request: file_pb2.SearchRequest, read: Callable[[file_pb2.SearchResponse], T]
    ) -> SearchReport[T]:
        matches: list[T] = []
        report: SearchReport[T] = SearchReport(())
        async with contextlib.aclosing(self._connection.stream(self._connection.file.Search, request)) as responses:
            async for response in responses:
                if response.HasField("summary"):
                    end = response.summary
                    report = SearchReport(tuple(matches), end.files, end.skipped, _LIMITS.get(end.limit, ""))
                else:
                    matches.append(read(response))
        return report
