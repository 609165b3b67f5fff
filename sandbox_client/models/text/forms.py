"""Chooses the text form of a result for readers of text: models, terminals and logs. Pure: no I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sandbox_client.models.sizes import format_size
from sandbox_client.models.text.html_text import html_to_text

if TYPE_CHECKING:
    from collections.abc import Mapping

PICTURES: Final = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/svg+xml": "svg",
    "image/gif": "gif",
    "image/webp": "webp",
    "application/pdf": "pdf",
}
"""File suffix of each MIME type that is a picture."""
_MAX_PAGE: Final = 256 << 10
"""Bytes of HTML that are turned into text. The page may be hostile, and this takes microseconds for each."""
_SOURCES: Final = ("text/markdown", "text/latex", "application/json")
"""Forms whose source a person can read."""


def text_form(data: Mapping[str, bytes]) -> str:
    """Return a result as text. Forms that have none are named with their sizes, so that no result becomes nothing.

    Args:
        data: Content by MIME type.
    """
    plain = _decode(data, "text/plain")
    return readable_text(data) or ("" if is_placeholder(plain) else plain) or name_forms(data) or plain


def readable_text(data: Mapping[str, bytes]) -> str:
    """Return `text/plain`, or if that only names the object, the text of another form. Returns "" if there is none."""
    return _own_text(data) or _text_of_page(data.get("text/html", b""))


def is_page(data: Mapping[str, bytes]) -> bool:
    """Return True for a result that has its content in HTML alone."""
    return "text/html" in data and not _own_text(data)


def _own_text(data: Mapping[str, bytes]) -> str:
    plain = _decode(data, "text/plain")
    if plain and not is_description(plain):
        return plain
    return next((_decode(data, mime) for mime in _SOURCES if mime in data), "")


def _text_of_page(page: bytes) -> str:
    text = html_to_text(page[:_MAX_PAGE].decode(errors="ignore"))
    if len(page) <= _MAX_PAGE:
        return text
    return f"{text}\n... ({format_size(len(page) - _MAX_PAGE)} of {format_size(len(page))} of HTML left out)".lstrip()


def name_forms(data: Mapping[str, bytes]) -> str:
    """Return the forms of a result and their sizes, such as `[text/html, 1.2 KiB]`. Returns "" if there is none."""
    named = ", ".join(f"{mime}, {format_size(len(content))}" for mime, content in data.items() if mime != "text/plain")
    return f"[{named}]" if named else ""


def is_description(text: str) -> bool:
    """Return True for a `repr` that names only the class, such as `<IPython.core.display.HTML object>`."""
    return text.startswith("<") and text.endswith(">") and "\n" not in text


def is_placeholder(text: str) -> bool:
    """Return True for the text of IPython's own display classes, which says nothing about their content."""
    return text.startswith("<IPython.core.display.") and is_description(text)


def _decode(data: Mapping[str, bytes], mime: str) -> str:
    return data.get(mime, b"").decode(errors="replace")
