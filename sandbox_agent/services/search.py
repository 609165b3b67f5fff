"""Search and Watch of FileService: what the runtime finds, checked, as messages."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

from sandbox_agent import runtime_values as checked
from sandbox_agent.executions.requests import check_path, invalid
from sandbox_agent.services.answers import answer
from sandbox_agent.session.limits import duration_seconds
from sandbox_link.protocol import Event
from sandbox_proto.v1 import file_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from sandbox_link.protocol import Call, Runtime

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
    """Arguments of the link's `file.search`.

    Raises:
        OperationError: INVALID_ARGUMENT, naming the field.
    """
    if request.max_results > MAX_MATCHES:
        raise invalid("max_results", f"max_results must be at most {MAX_MATCHES}")
    seconds = duration_seconds(request.timeout) if request.HasField("timeout") else 0.0
    if request.HasField("timeout") and not MIN_TIMEOUT <= seconds <= MAX_TIMEOUT:
        raise invalid("timeout", f"timeout must be from 1 ms to {MAX_TIMEOUT:g} s", "INVALID_TIMEOUT")
    if len(request.exclude) > _MAX_EXCLUDE:
        raise invalid("exclude", f"exclude must have at most {_MAX_EXCLUDE} patterns")
    for field in ("name_pattern", "content_pattern"):
        if len(getattr(request, field)) > MAX_PATTERN:
            raise invalid(field, f"{field} must have at most {MAX_PATTERN} characters")
    return {
        "path": check_path(request.path or "."),
        "name_pattern": request.name_pattern,
        "content_pattern": request.content_pattern,
        "max_results": request.max_results,
        "literal": request.literal,
        "ignore_case": request.ignore_case,
        "exclude": [check_path(pattern, "exclude") for pattern in request.exclude],
        "timeout_ms": int(seconds * 1000),
    }


async def search(runtime: Runtime, arguments: dict[str, Any]) -> AsyncGenerator[file_pb2.SearchResponse, None]:
    """Matches, then the summary."""
    call = await runtime.open("file.search", arguments)
    try:
        await call.end()
        async for item in call:
            if isinstance(item, Event):
                with answer():
                    found = [_read_match(match) for match in checked.objects(item.value, "matches", _PER_EVENT)]
                for response in found:
                    yield response
    except BaseException:
        await call.cancel()
        raise
    with answer():
        summary = file_pb2.SearchSummary(
            files=checked.count(call.result, "files"),
            skipped=checked.count(call.result, "skipped"),
            matches=checked.count(call.result, "matches"),
            limit=_LIMITS.get(checked.text(call.result, "limit"), file_pb2.SearchSummary.LIMIT_UNSPECIFIED),
        )
    yield file_pb2.SearchResponse(summary=summary)


def _read_match(match: dict[str, Any]) -> file_pb2.SearchResponse:
    if "info" in match:
        info = checked.file_info(checked.mapping(match, "info"))
        return file_pb2.SearchResponse(path=info.path, info=info)
    return file_pb2.SearchResponse(
        path=checked.text(match, "path"),
        line=checked.count(match, "line"),
        text=checked.text(match, "text", _MAX_TEXT),
    )


async def watch(runtime: Runtime, arguments: dict[str, Any]) -> AsyncGenerator[file_pb2.WatchResponse, None]:
    """Changes until the folder is gone, or the caller goes away."""
    call = await runtime.open("file.watch", arguments)
    try:
        await call.end()
        async for item in call:
            if isinstance(item, Event):
                with answer():
                    changes = list(_read_changes(item.value))
                for change in changes:
                    yield change
    except BaseException:
        await _cancel(call)
        raise


async def _cancel(call: Call) -> None:
    with contextlib.suppress(Exception):
        await call.cancel()


def _read_changes(value: dict[str, Any]) -> Iterator[file_pb2.WatchResponse]:
    kind = checked.text(value, "type")
    if kind == "watching":
        yield file_pb2.WatchResponse(change=file_pb2.WatchResponse.CHANGE_WATCHING)
    elif kind == "overflow":
        yield file_pb2.WatchResponse(change=file_pb2.WatchResponse.CHANGE_OVERFLOW)
    else:
        at_ns = checked.integer(value, "at_ns", 0, (1 << 63) - 1)
        for change in checked.objects(value, "changes", _PER_EVENT):
            known = _CHANGES.get(checked.text(change, "change"), file_pb2.WatchResponse.CHANGE_UNSPECIFIED)
            told = file_pb2.WatchResponse(change=known, path=checked.text(change, "path"))
            told.at.FromNanoseconds(at_ns)
            yield told
