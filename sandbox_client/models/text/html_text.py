"""Turns HTML into text. The HTML may be hostile, so the time is linear in its length. Pure: no I/O."""

from __future__ import annotations

import html
import re
from typing import Final

_TOKEN: Final = re.compile(r"<!--|<(/?)([A-Za-z][\w:-]*+)[^<>]*+>|<![^<>]*+>|[^<]+|<")
_SKIPPED: Final = frozenset({"script", "style", "head", "template", "svg"})
_LINES: Final = re.compile(
    r"address|article|blockquote|br|caption|d[dlt]|div|fieldset|figcaption|figure|footer|form|h[1-6r]|header|li|main|nav|"
    r"ol|option|p|pre|section|summary|table|tbody|tfoot|thead|tr|ul"
)
_CELLS: Final = frozenset({"td", "th"})
_BETWEEN_CELLS: Final = " | "
_SPACE: Final = re.compile(r"\s+")


def html_to_text(source: str) -> str:
    """Return the text of HTML: a line for each block and each row of a table, ` | ` between its cells.

    Scripts, styles and pictures have no text. Returns "" if nothing is left.
    """
    page = _Page()
    skipped, position = "", 0
    while match := _TOKEN.match(source, position):
        position = match.end()
        name, is_end = (match[2] or "").lower(), bool(match[1])
        if skipped:
            skipped = "" if is_end and name == skipped else skipped
        elif match[0] == "<!--":
            end = source.find("-->", position)
            position = len(source) if end < 0 else end + len("-->")
        elif name in _SKIPPED:
            skipped = "" if is_end or match[0].endswith("/>") else name
        elif name:
            page.add_tag(name, is_end=is_end)
        elif not match[0].startswith("<!"):
            page.add_text(html.unescape(match[0]))
    return page.text()


class _Page:
    """The lines of a page. A line is a list of pieces, because joining them one by one would take quadratic time."""

    def __init__(self) -> None:
        self._lines: list[list[str]] = [[]]
        self._is_preformatted = False

    def add_tag(self, name: str, *, is_end: bool) -> None:
        if _LINES.fullmatch(name):
            self._is_preformatted = name == "pre" and not is_end
            if self._lines[-1]:
                self._lines.append([])
            if name == "li" and not is_end:
                self._lines[-1].append("- ")
        elif name in _CELLS and is_end:
            # The first cell of a row may be empty, as in the header of a table with an index.
            self._lines[-1].append(_BETWEEN_CELLS)

    def add_text(self, text: str) -> None:
        if self._is_preformatted:
            first, *rest = text.split("\n")
            self._lines[-1].append(first)
            self._lines.extend([line] for line in rest)
        elif text := _SPACE.sub(" ", text) if self._lines[-1] else _SPACE.sub(" ", text).lstrip():
            self._lines[-1].append(text)

    def text(self) -> str:
        lines = ("".join(line).rstrip().removesuffix(_BETWEEN_CELLS.rstrip()).rstrip() for line in self._lines)
        return "\n".join(line for line in lines if line)
