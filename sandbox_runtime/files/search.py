"""`file.search`: finds names by glob, and lines by text or regular expression. Blocking I/O.

Time and matches are limited. A regular expression runs in a process of its own (`grep_process`), which is killed at the
deadline. The search opens only regular files below the given folder, follows no symlink and skips binary files.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import stat
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sandbox_link.protocol import OperationError, invalid
from sandbox_runtime.files.arguments import take_bool, take_int, take_text, take_texts
from sandbox_runtime.files.confined.errors import quote
from sandbox_runtime.files.confined.info import build_info
from sandbox_runtime.files.confined.open_beneath import ITSELF, THROUGH
from sandbox_runtime.files.confined.path_checks import to_text
from sandbox_runtime.files.confined.roots import Place
from sandbox_runtime.files.confined.walk import FOLDER_FLAGS, Visit, Walk, visit_tree
from sandbox_runtime.files.globs import Globs
from sandbox_runtime.files.reading import open_regular

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

    from sandbox_link.protocol import Channel
    from sandbox_runtime.files.confined.roots import Roots
    from sandbox_runtime.files.confined.threads import StopFlag, Threads

DEFAULT_MATCHES: Final = 1_000
MAX_MATCHES: Final = 10_000
DEFAULT_SECONDS: Final = 30
MAX_SECONDS: Final = 300
MAX_PATTERN: Final = 4_096
_BATCH: Final = 200
_REPORT_SECONDS: Final = 0.05
"""How often the matches so far are sent."""
_POLL_MS: Final = 50
_MAX_ANSWER: Final = 64 << 20
_MATCHER: Final = Path(__file__).with_name("grep_process.py")
Match = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Query:
    """A search. Empty patterns match everything, and without a content pattern no file is opened."""

    place: Place
    names: Globs
    excluded: Globs
    content: str
    literal: bool
    ignore_case: bool
    max_results: int
    deadline: float
    """On the monotonic clock."""


@dataclass(slots=True)
class Tally:
    """Counts of a search. `limit` is `results` or `deadline` if that ended the search, else empty."""

    files: int = 0
    skipped: int = 0
    matches: int = 0
    limit: str = ""

    def as_result(self) -> dict[str, Any]:
        """Return the operation's `ok` message."""
        return {"files": self.files, "skipped": self.skipped, "matches": self.matches, "limit": self.limit}


class SearchHandlers:
    """The handler of searching."""

    def __init__(self, roots: Roots, threads: Threads) -> None:
        self._roots = roots
        self._threads = threads

    async def search(self, channel: Channel) -> dict[str, Any]:
        """Handle `file.search`."""
        query, tally = read_query(self._roots, channel.arguments), Tally()
        found = search(query, tally)

        def take(flag: StopFlag) -> list[Match] | None:
            """Return the matches of the next `_REPORT_SECONDS`; None at the end."""
            matches: list[Match] = []
            until = time.monotonic() + _REPORT_SECONDS
            for match in found:
                flag.check()
                if match is not None:
                    matches.append(match)
                if len(matches) >= _BATCH or time.monotonic() > until:
                    return matches
            return matches or None

        try:
            while (matches := await self._threads.run_stoppable(take)) is not None:
                if matches:
                    channel.send_event({"type": "matches", "matches": matches})
        finally:
            await self._threads.run(found.close)
        return tally.as_result()


def read_query(roots: Roots, arguments: Mapping[str, Any]) -> Query:
    """Check the arguments.

    Raises:
        OperationError: INVALID_ARGUMENT, naming the field.
    """
    content = take_text(arguments, "content_pattern")
    if len(content) > MAX_PATTERN or "\n" in content:
        raise invalid(
            "content_pattern",
            f"a pattern has at most {MAX_PATTERN} characters and no line break: search for less text",
        )
    name = take_text(arguments, "name_pattern")
    seconds = take_int(arguments, "timeout_ms", MAX_SECONDS * 1000) / 1000 or DEFAULT_SECONDS
    return Query(
        roots.find(arguments, default="."),
        _read_globs([name] if name else [], "name_pattern"),
        _read_globs(take_texts(arguments, "exclude"), "exclude"),
        content,
        take_bool(arguments, "literal"),
        take_bool(arguments, "ignore_case"),
        take_int(arguments, "max_results", MAX_MATCHES) or DEFAULT_MATCHES,
        time.monotonic() + seconds,
    )


def _read_globs(patterns: list[str], name: str) -> Globs:
    try:
        return Globs(patterns)
    except ValueError as error:
        raise invalid(name, f"`{name}` is not possible: {error}") from error


def search(query: Query, tally: Tally) -> Generator[Match | None, None, None]:
    """Yield matches in the order of their paths, and None for each step without one, so that the caller can stop.

    Raises:
        OperationError: NOT_FOUND or NOT_A_DIRECTORY (`path`); INVALID_ARGUMENT (`content_pattern`).
    """
    prefix = query.place.below
    with contextlib.ExitStack() as resources:
        location = resources.enter_context(query.place.locate(THROUGH))
        base = os.open(location.name, FOLDER_FLAGS, dir_fd=location.folder)
        resources.callback(os.close, base)
        matcher = _start_matcher(query, resources) if query.content else None
        if query.content and matcher is None:
            tally.limit = "deadline"
            return
        walk = Walk(is_skipped=lambda path: bool(query.excluded) and query.excluded.matches_itself(to_text(path)))
        for visit in visit_tree(base, walk):
            if time.monotonic() >= query.deadline:
                tally.limit = "deadline"
                return
            if visit.leaving or not _has_name(query, visit):
                yield None
                continue
            found = _search_file(matcher, query, prefix, visit) if matcher else _name_match(prefix, visit)
            yield from _count(found, query, tally)
            if tally.limit:
                return


def _has_name(query: Query, visit: Visit) -> bool:
    return not query.names or query.names.matches_itself(to_text(visit.path))


def _name_match(prefix: bytes, visit: Visit) -> Iterator[Match | None]:
    yield {"info": build_info(to_text(prefix + visit.path), visit.status, visit.target, metadata=visit.metadata)}


def _count(found: Iterator[Match | None], query: Query, tally: Tally) -> Iterator[Match | None]:
    for match in found:
        if match is None:
            yield None
            continue
        if "limit" in match or "skipped" in match:
            tally.limit = match.get("limit", "")
            tally.skipped += match.get("skipped", 0)
            return
        if tally.matches >= query.max_results:
            tally.limit = "results"
            return
        tally.matches += 1
        yield match
    tally.files += 1


def _search_file(matcher: _Matcher, query: Query, prefix: bytes, visit: Visit) -> Iterator[Match | None]:
    """Yield the matching lines of one file. Yields `{"skipped": ...}` or `{"limit": ...}` if it was not searched."""
    if not stat.S_ISREG(visit.status.st_mode):
        yield {"skipped": 0}
        return
    place = query.place
    descriptor = _open(Place(place.root, (*place.parts, *visit.path.split(b"/"))))
    if descriptor < 0:
        yield {"skipped": 1}
        return
    try:
        matcher.send(descriptor, query.max_results + 1)
    finally:
        os.close(descriptor)
    while (answer := matcher.receive()) is None:
        if time.monotonic() >= query.deadline:
            yield {"limit": "deadline"}
            return
        yield None
    if answer["is_binary"]:
        yield {"skipped": 1}
        return
    path = to_text(prefix + visit.path)
    for number, text in answer["lines"]:
        yield {"path": path, "line": number, "text": text}


def _open(place: Place) -> int:
    """Open a file without following a symlink below the searched folder. Returns -1 if it cannot be read."""
    try:
        with place.locate(ITSELF) as location:
            return open_regular(location)[0]
    except (OperationError, OSError):
        return -1


@dataclass(slots=True)
class _Matcher:
    """The process that matches lines."""

    peer: socket.socket
    process: subprocess.Popen[bytes]
    _waiting: bytearray = field(default_factory=bytearray)

    def send(self, descriptor: int, max_lines: int) -> None:
        try:
            socket.send_fds(self.peer, [json.dumps({"max_lines": max_lines}).encode() + b"\n"], [descriptor])
        except OSError as error:
            raise _matcher_ended() from error

    def receive(self) -> dict[str, Any] | None:
        """Return the next answer; None if it is not complete within `_POLL_MS`."""
        if not select.select([self.peer], [], [], _POLL_MS / 1000)[0]:
            return None
        data = self.peer.recv(1 << 20)
        self._waiting += data
        if not data or len(self._waiting) > _MAX_ANSWER:
            raise _matcher_ended()
        if not self._waiting.endswith(b"\n"):
            return None
        answer: dict[str, Any] = json.loads(self._waiting)
        self._waiting.clear()
        return answer

    def close(self) -> None:
        self.peer.close()
        self.process.kill()
        self.process.wait()


def _start_matcher(query: Query, resources: contextlib.ExitStack) -> _Matcher | None:
    """Start the process, to be ended with `resources`. Returns None if the deadline came first."""
    ours, theirs = socket.socketpair()
    resources.callback(ours.close)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_MATCHER)],
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={},
            start_new_session=True,
        )
    matcher = _Matcher(ours, process)
    resources.callback(matcher.close)
    question = {"pattern": query.content, "literal": query.literal, "ignore_case": query.ignore_case}
    ours.sendall(json.dumps(question).encode() + b"\n")
    while (answer := matcher.receive()) is None:
        if time.monotonic() >= query.deadline:
            return None
    if answer["error"]:
        message = (
            f"{quote(query.content)} is not a regular expression: {answer['error']}. "
            "Put a backslash before special characters, or search with `literal`"
        )
        raise invalid("content_pattern", message)
    return matcher


def _matcher_ended() -> OperationError:
    return OperationError("UNAVAILABLE", "RUNTIME_UNAVAILABLE", "the search process was ended: try again")
