"""Finds files by name and lines by content, and watches for changes."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, Literal, TypeVar

from sandbox_client.models.file_info import FileInfo, read_file_info
from sandbox_client.models.timestamps import read_time
from sandbox_client.transport.requests import checked_path, duration
from sandbox_proto.v1 import file_pb2

if TYPE_CHECKING:
    import datetime as dt
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
    """A line that matches a pattern.

    Attributes:
        path: The file.
        line: The line's number, from 1.
        text: The line's first 500 characters.
    """

    path: str
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class SearchReport(Generic[T]):
    """Result of a search.

    Attributes:
        matches: Sorted by path.
        files: Number of files that were searched, or of paths that were found.
        skipped: Number of files that are binary or could not be read.
        limit: The limit that ended the search early, `max_results` or `timeout`, or "" if the search is complete.
    """

    matches: tuple[T, ...]
    files: int = 0
    skipped: int = 0
    limit: Literal["", "max_results", "timeout"] = ""


@dataclass(frozen=True, slots=True)
class FileChange:
    """A change below a watched folder.

    Attributes:
        change: `overflow` means that changes were lost: list the files again, then start a new watch.
        path: The path that changed, "" for an overflow.
        at: Time of the change, aware, in UTC.
    """

    change: Literal["added", "modified", "removed", "overflow"]
    path: str = ""
    at: dt.datetime | None = None


class FileSearches:
    """The methods of `AsyncFiles` that search and watch."""

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
        """Find paths by name.

        Args:
            pattern: A glob for the path below `path`, such as `**/*.py`. Without a slash it matches the last name.
            path: The folder to search.
            exclude: Globs of paths to leave out, with everything below them.
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
            timeout=duration(timeout),
        )
        return await self._search(request, lambda response: read_file_info(response.info))

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
        """Find lines by content. Binary files are skipped.

        Args:
            pattern: A Python regular expression that matches anywhere in a line.
            path: The folder to search.
            name_pattern: Search only files with such names; a glob as for `find`.
            literal: Treat the pattern as plain text.
            ignore_case: Ignore the difference between upper and lower case.
            exclude: As for `find`.
            max_results: At most 10,000.
            timeout: Seconds, at most 300.

        Raises:
            InvalidArgument: `content_pattern` is not a regular expression.
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
            timeout=duration(timeout),
        )
        return await self._search(request, lambda response: LineMatch(response.path, response.line, response.text))

    async def watch(
        self,
        path: str | PurePosixPath = ".",
        *,
        recursive: bool = True,
        on_ready: Callable[[], object] | None = None,
    ) -> AsyncGenerator[FileChange, None]:
        """Yield changes below a folder as they happen, until the caller stops or the folder is removed.

        A new file is `added`, then `modified` once it has content.

        Args:
            path: The folder.
            recursive: Watch everything below the folder, not only its own entries.
            on_ready: Called when the watch is active: all later changes are reported.

        Raises:
            NotFound: There is no such folder.
            ResourceExhausted: There are too many folders, or the caller did not read the changes fast enough.
        """
        request = file_pb2.WatchRequest(path=checked_path(path), recursive=recursive)
        async with contextlib.aclosing(self._connection.stream(self._connection.file.Watch, request)) as responses:
            async for response in responses:
                change = _CHANGES.get(response.change)
                if change is not None:
                    yield FileChange(change, response.path, read_time(response, "at"))
                elif on_ready and response.change == file_pb2.WatchResponse.CHANGE_WATCHING:
                    on_ready()

    async def _search(
        self, request: file_pb2.SearchRequest, read_match: Callable[[file_pb2.SearchResponse], T]
    ) -> SearchReport[T]:
        matches: list[T] = []
        report: SearchReport[T] = SearchReport(())
        async with contextlib.aclosing(self._connection.stream(self._connection.file.Search, request)) as responses:
            async for response in responses:
                if response.HasField("summary"):
                    summary = response.summary
                    limit = _LIMITS.get(summary.limit, "")
                    report = SearchReport(tuple(matches), summary.files, summary.skipped, limit)
                else:
                    matches.append(read_match(response))
        return report
