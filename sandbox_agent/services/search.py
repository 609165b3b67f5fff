"""Implements Search and Watch of FileService: checks what the runtime finds and turns it into messages."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from sandbox_agent.durations import duration_seconds
from sandbox_agent.executions.requests import check_path, read_root
from sandbox_agent.runtime_values import (
    checking_answer,
    read_count,
    read_file_info,
    read_integer,
    read_object,
    read_objects,
    read_text,
)
from sandbox_agent.storage.timeouts import REQUEST_TIMEOUT, Pace, time_limit
from sandbox_link.protocol import Event, invalid
from sandbox_proto.v1 import file_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from sandbox_link.protocol import Call, Data, Runtime

MAX_MATCHES: Final = 10_000
MIN_TIMEOUT: Final = 0.001
MAX_TIMEOUT: Final = 300.0
MAX_PATTERN: Final = 4_096
_MAX_EXCLUDE: Final = 1_000
_PER_EVENT: Final = 500
_MAX_TEXT: Final = 500
_LIMITS: Final = {
    "": file_pb2.SearchSummary.LIMIT_UNSPECIFIED,
    "results": file_pb2.SearchSummary.LIMIT_MAX_RESULTS,
    "deadline": file_pb2.SearchSummary.LIMIT_TIMEOUT,
}
_CHANGES: Final = {
    "added": file_pb2.WatchResponse.CHANGE_ADDED,
    "modified": file_pb2.WatchResponse.CHANGE_MODIFIED,
    "removed": file_pb2.WatchResponse.CHANGE_REMOVED,
}


def read_search(request: file_pb2.SearchRequest) -> dict[str, Any]:
    """Return the arguments of the link's `file.search`.

    Raises:
        OperationError: INVALID_ARGUMENT, naming the field.
    """
    if request.max_results > MAX_MATCHES:
        raise invalid("max_results", f"max_results is {request.max_results}: give at most {MAX_MATCHES}")
    seconds = duration_seconds(request.timeout) if request.HasField("timeout") else 0.0
    if request.HasField("timeout") and not MIN_TIMEOUT <= seconds <= MAX_TIMEOUT:
        raise invalid(
            "timeout", f"a search takes from 1 ms to {MAX_TIMEOUT:g} s: choose a timeout in between", "INVALID_TIMEOUT"
        )
    if len(request.exclude) > _MAX_EXCLUDE:
        raise invalid("exclude", f"exclude has more than {_MAX_EXCLUDE} patterns: give fewer")
    for field in ("name_pattern", "content_pattern"):
        if len(getattr(request, field)) > MAX_PATTERN:
            raise invalid(field, f"a pattern has at most {MAX_PATTERN} characters: give a shorter one")
    return {
        "path": check_path(request.path or "."),
        **read_root(request.root),
        "name_pattern": request.name_pattern,
        "content_pattern": request.content_pattern,
        "max_results": request.max_results,
        "literal": request.literal,
        "ignore_case": request.ignore_case,
        "exclude": [check_path(pattern, "exclude") for pattern in request.exclude],
        "timeout_ms": int(seconds * 1000),
    }


async def search(runtime: Runtime, arguments: dict[str, Any]) -> AsyncGenerator[file_pb2.SearchResponse, None]:
    """Yield the matches, then the summary."""
    call = await runtime.open("file.search", arguments)
    # The runtime ends a search itself, at its timeout.
    limit = arguments["timeout_ms"] / 1000 + REQUEST_TIMEOUT
    try:
        await call.end()
        async for item in Pace(limit).items(call):
            if isinstance(item, Event):
                with checking_answer():
                    found = [_read_match(match) for match in read_objects(item.value, "matches", _PER_EVENT)]
                for response in found:
                    yield response
    except BaseException:
        await call.cancel()
        raise
    with checking_answer():
        summary = file_pb2.SearchSummary(
            files=read_count(call.result, "files"),
            skipped=read_count(call.result, "skipped"),
            matches=read_count(call.result, "matches"),
            limit=_LIMITS.get(read_text(call.result, "limit"), file_pb2.SearchSummary.LIMIT_UNSPECIFIED),
        )
    yield file_pb2.SearchResponse(summary=summary)


def _read_match(match: dict[str, Any]) -> file_pb2.SearchResponse:
    if "info" in match:
        info = read_file_info(read_object(match, "info"))
        return file_pb2.SearchResponse(path=info.path, info=info)
    return file_pb2.SearchResponse(
        path=read_text(match, "path"),
        line=read_count(match, "line"),
        text=read_text(match, "text", _MAX_TEXT),
    )


async def watch(runtime: Runtime, arguments: dict[str, Any]) -> AsyncGenerator[file_pb2.WatchResponse, None]:
    """Yield changes until the folder is removed or the caller stops."""
    call = await runtime.open("file.watch", arguments)
    try:
        await call.end()
        async for item in _once_begun(call):
            if isinstance(item, Event):
                with checking_answer():
                    changes = list(_read_changes(item.value))
                for change in changes:
                    yield change
    except BaseException:
        await _cancel(call)
        raise


async def _once_begun(call: Call) -> AsyncGenerator[Data | Event, None]:
    """Yield a call's items. The first one has to come in time; after it the runtime may be silent."""
    async with time_limit():
        first = await anext(aiter(call), None)
    if first is not None:
        yield first
        async for item in call:
            yield item


async def _cancel(call: Call) -> None:
    with contextlib.suppress(Exception):
        await call.cancel()


def _read_changes(value: dict[str, Any]) -> Iterator[file_pb2.WatchResponse]:
    kind = read_text(value, "type")
    if kind == "watching":
        yield file_pb2.WatchResponse(change=file_pb2.WatchResponse.CHANGE_WATCHING)
    elif kind == "overflow":
        yield file_pb2.WatchResponse(change=file_pb2.WatchResponse.CHANGE_OVERFLOW)
    else:
        at_ns = read_integer(value, "at_ns", 0, (1 << 63) - 1)
        for change in read_objects(value, "changes", _PER_EVENT):
            kind_of_change = _CHANGES.get(read_text(change, "change"), file_pb2.WatchResponse.CHANGE_UNSPECIFIED)
            response = file_pb2.WatchResponse(change=kind_of_change, path=read_text(change, "path"))
            response.at.FromNanoseconds(at_ns)
            yield response
