"""Bounds what a model gets: texts keep their beginning and end, lists their first entries. Pure: no I/O.

A value is cut only if it is too long as a whole. Then its longest texts are cut to one common length, so that a long
`stdout` does not cost the short `error` beside it.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.errors import InvalidArgument
from sandbox_client.tools.results import MAX_TEXT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox_client.tools.results import ToolResult

DEFAULT_MAX_TEXT: Final = 30_000
"""Characters of one result by default: about 10,000 tokens."""
MIN_MAX_TEXT: Final = 500
DEFAULT_MAX_IMAGE_EDGE: Final = 1568
"""Pixels of a picture's longer edge by default. Larger pictures are scaled down by the models' own servers."""
MIN_MAX_IMAGE_EDGE: Final = 64
MAX_MAX_IMAGE_EDGE: Final = 8000
MAX_PICTURES: Final = 20
"""Pictures of one result."""
_SHORT: Final = 300
"""Characters of a text that is never cut."""


@dataclass(frozen=True, slots=True)
class ResultLimits:
    """Limits of the results of one set of tools.

    Attributes:
        max_text: Characters of one result, from 500 to 1,000,000. None: only the tools' own limits apply.
        max_image_edge: Pixels of a picture's longer edge, from 64 to 8,000. Larger pictures are scaled down. None: only
            the tools' own limit of 16 MiB applies.
    """

    max_text: int | None = DEFAULT_MAX_TEXT
    max_image_edge: int | None = DEFAULT_MAX_IMAGE_EDGE

    def __post_init__(self) -> None:
        _check("max_text", self.max_text, MIN_MAX_TEXT, MAX_TEXT)
        _check("max_image_edge", self.max_image_edge, MIN_MAX_IMAGE_EDGE, MAX_MAX_IMAGE_EDGE)


def _check(field: str, value: object, least: int, most: int) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidArgument(f"{field} must be a whole number or None, not {type(value).__name__}", field=field)
    if not least <= value <= most:
        raise InvalidArgument(f"{field} must be between {least:,} and {most:,}, not {value:,}", field=field)


def cut_middle(text: str, limit: int, where: str = "") -> str:
    """Return the beginning and the end of a text, with at most `limit` characters, and between them what was left out.

    Args:
        text: The text.
        limit: Characters to keep.
        where: Where the whole text is, or "" if nowhere.
    """
    if len(text) <= limit:
        return text
    head, tail = text[: limit - limit // 2], text[len(text) - limit // 2 :]
    return join_ends(head, tail, f"{len(text) - limit:,} of {len(text):,} characters", where)


def join_ends(head: str, tail: str, left_out: str, where: str) -> str:
    """Join a text's beginning and end with a line that says what was left out, and where the whole text is."""
    place = f"; the whole text is in {where}" if where else "; print less, or write it to a file"
    return f"{head}\n[... {left_out} left out{place} ...]\n{tail}"


def is_too_long(result: ToolResult, max_text: int | None) -> bool:
    """Return whether `bound` would change a result."""
    if max_text is None:
        return False
    # Encoding a hundred megabytes takes a second.
    return sum(map(len, _texts(result.value))) > max_text or _length(result.value) > max_text


def bound_texts(result: ToolResult) -> ToolResult:
    """Return a result whose texts have at most MAX_TEXT characters each: the own limit of the tools that run code."""
    value = _cut_texts(result.value, MAX_TEXT, result.whole)
    return dataclasses.replace(result, value=value) if value != result.value else result


def bound(result: ToolResult, max_text: int | None) -> ToolResult:
    """Return a result whose value has at most about `max_text` characters. `result.whole` says where the rest is."""
    if max_text is None or not is_too_long(result, max_text):
        return result
    where = result.whole
    if isinstance(result.value, str):
        return dataclasses.replace(result, value=cut_middle(result.value, max_text, where))
    if isinstance(result.value, list):
        kept = _first_entries(result.value, max_text)
        notice = f"{len(result.value) - len(kept):,} of {len(result.value):,} entries were left out: list sub-folders"
        return dataclasses.replace(result, value=kept, notice=f"{result.notice}; {notice}".removeprefix("; "))
    return dataclasses.replace(result, value=_bound_object(result.value, max_text, where))


def _bound_object(value: dict[str, Any], max_text: int, where: str) -> dict[str, Any]:
    # Many entries may be too long even without their texts.
    for key, entries in value.items():
        if isinstance(entries, list) and len(entries) > 1:
            kept = _first_entries([_cut_texts(each, _SHORT, "") for each in entries], max_text)
            if len(kept) < len(entries):
                more = {"truncated": True, "left_out": f"{len(entries) - len(kept):,} of {len(entries):,} entries"}
                value = {**value, key: entries[: len(kept)], **more}
    lengths = sorted(len(text) for text in _texts(value))
    allowed = max_text
    while True:
        cut = _cut_texts(value, _common_length(lengths, allowed), where)
        # JSON escapes a control character with six.
        length = _length(cut)
        if length <= max_text * 1.2 or allowed < _SHORT:
            return dict(cut)
        allowed = int(allowed * 0.9 * max_text / length)


def _common_length(lengths: list[int], allowed: int) -> int:
    """Return the length to which the texts must be cut so that all of them together have the allowed length.

    Args:
        lengths: The lengths of the texts, shortest first.
        allowed: Characters of all texts together.
    """
    left = allowed
    for position, length in enumerate(lengths):
        share = left // (len(lengths) - position)
        if length > share:
            return max(share, _SHORT)
        left -= length
    return max(allowed, _SHORT)


def _cut_texts(value: Any, limit: int, where: str) -> Any:
    if isinstance(value, str):
        return cut_middle(value, limit, where) if len(value) > max(limit, _SHORT) else value
    if isinstance(value, list):
        return [_cut_texts(each, limit, where) for each in value]
    if not isinstance(value, dict):
        return value
    if "content" in value:
        where = where or str(value.get("path", ""))
    cut = {key: _cut_texts(each, limit, where) for key, each in value.items()}
    content = value.get("content")
    if isinstance(content, str) and cut["content"] != content:
        cut["truncated"] = True
        if value.get("encoding") == "base64":
            # Its beginning can be decoded, its end cannot.
            cut["content"] = content[: limit // 4 * 4]
        elif value.get("truncated"):
            # The content is only the beginning of the file.
            cut["content"] = join_ends(content[:limit], "", f"the rest of {value.get('size', 0):,} bytes", where)
    return cut


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)


def _first_entries(entries: list[Any], limit: int) -> list[Any]:
    """Return the first entries, as many as have the length together, and at least one."""
    left = limit
    for count, entry in enumerate(entries):
        left -= _length(entry) + 2
        if left < 0:
            return entries[: max(count, 1)]
    return entries


def _length(value: Any) -> int:
    return len(value) if isinstance(value, str) else len(json.dumps(value, ensure_ascii=False))
