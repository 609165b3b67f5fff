"""Readable forms of values: short reprs, tables, and the text that a terminal would show. Pure: no I/O."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, TypeVar

from sandbox_client.models.sizes import format_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MAX_TEXT: Final = 100
"""Characters or bytes of one value in a repr."""
_MAX_ITEMS: Final = 5
"""Items of one collection in a repr."""
_MAX_ROWS: Final = 60
"""Rows of a listing that are shown."""


class Readable:
    """A dataclass whose repr is short: without default values, with sizes in place of long content."""

    __slots__ = ()
    _left_out: ClassVar[frozenset[str]] = frozenset()

    def __repr__(self) -> str:
        shown: Any = self
        parts = [
            f"{field.name}={short(value)}"
            for field in dataclasses.fields(shown)
            if field.name not in self._left_out and (value := getattr(self, field.name)) != _default_of(field)
        ]
        return f"{type(self).__name__}({', '.join(parts)})"


def _default_of(field: dataclasses.Field[Any]) -> object:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def short(value: object) -> str:
    """Return a short repr of a value."""
    if isinstance(value, tuple):
        items = [short(item) for item in value[:_MAX_ITEMS]]
        more = [f"... {len(value) - _MAX_ITEMS} more"] if len(value) > _MAX_ITEMS else []
        return f"({', '.join([*items, *more])})"
    if isinstance(value, str | bytes) and len(value) > _MAX_TEXT:
        size = format_size(len(value))
        return f"<{size}>" if isinstance(value, bytes) else f"{value[:_MAX_TEXT]!r}... ({len(value):,} characters)"
    if isinstance(value, enum.StrEnum):
        return str.__repr__(value)
    if isinstance(value, dt.datetime):
        return value.isoformat(" ", "seconds")
    return f"{value:.3g}" if isinstance(value, float) else repr(value)


class Row(Protocol):
    """A value that a listing can show."""

    def row(self) -> dict[str, str]:
        """Return the value's texts by the name of their column."""


RowT = TypeVar("RowT", bound=Row)


class Listing(list[RowT]):
    """A list that shows itself as a table, in a terminal and in a notebook."""

    def __repr__(self) -> str:
        if not self:
            return "[]"
        rows, more = self._rows()
        lines = [list(rows[0]), *(list(row.values()) for row in rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        padded = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
        return "\n".join([*padded, *([more] if more else [])])

    def _repr_html_(self) -> str:
        if not self:
            return "<em>empty</em>"
        import html  # noqa: PLC0415 - only in a notebook

        rows, more = self._rows()
        head = "".join(f"<th>{name}</th>" for name in rows[0])
        body = "".join(f"<tr>{''.join(f'<td>{html.escape(text)}</td>' for text in row.values())}</tr>" for row in rows)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"

    def _rows(self) -> tuple[list[dict[str, str]], str]:
        # A name may hold line breaks and control characters, which would break the table or the terminal.
        rows = [
            {name: "".join(c if c.isprintable() else "\ufffd" for c in text) for name, text in item.row().items()}
            for item in self[:_MAX_ROWS]
        ]
        return rows, f"... and {len(self) - _MAX_ROWS:,} more" if len(self) > _MAX_ROWS else ""


def format_time(time: dt.datetime | None) -> str:
    """Return a time for a table: `2026-11-30 00:15`, in UTC, or "" for None."""
    return "" if time is None else time.strftime("%Y-%m-%d %H:%M")


def join_lines(parts: Iterable[str], *, keeps_end: bool = False) -> str:
    """Join texts so that each begins on a new line.

    Args:
        parts: The texts. Empty ones are left out.
        keeps_end: Whether the last line break stays.
    """
    joined = "".join(_begin_lines(parts))
    return joined if keeps_end else joined.removesuffix("\n")


def _begin_lines(parts: Iterable[str]) -> Iterator[str]:
    last = "\n"
    for part in parts:
        if part:
            yield part if last.endswith("\n") else f"\n{part}"
            last = part
