"""Finds the text of a page of HTML, for a reader of a file's output."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Final

_HIDDEN: Final = frozenset({"script", "style", "head", "title", "template"})
_LINES: Final = frozenset(
    {"blockquote", "br", "div", "dd", "dl", "dt", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre"}
    | {"article", "section", "table", "tr", "ul"}
)
_CELLS: Final = frozenset({"td", "th"})
MAX_PAGE: Final = 256 << 10
"""Characters of a page that are read."""


def page_text(page: str) -> str:
    """Return the text of a page, with a line for each block and row. Returns "" if it has none."""
    parser = _Parser()
    parser.feed(page[:MAX_PAGE])
    parser.close()
    lines = (line.strip() for line in "".join(parser.parts).split("\n"))
    return "\n".join(line for line in lines if line)


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        del attrs
        self._hidden += tag in _HIDDEN
        if tag in _LINES:
            self.parts.append("\n")
        elif tag in _CELLS:
            self.parts.append("  ")

    def handle_endtag(self, tag: str) -> None:
        if tag in _HIDDEN:
            self._hidden = max(0, self._hidden - 1)
        elif tag in _LINES:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            # The ends of lines in a page's source are spaces.
            self.parts.append(data.replace("\n", " ") if data.strip() else "")
