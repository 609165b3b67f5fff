"""Pictures and pages that code has shown: saved to a folder, or announced with the option that saves them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from sandbox_client.models.text.forms import PICTURES, is_page, readable_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sandbox_client.cli.output import Printer
    from sandbox_client.models.results import Result

Shown = tuple[str, bytes]
"""File suffix and content. The content is empty if it was not asked for."""
SUFFIXES: Final = frozenset({*PICTURES.values(), "html"})
"""All file suffixes."""


def shown_text(result: Result) -> str:
    """Return a result as text. Returns "" for a picture, and for a page without text."""
    if result.figure() is not None:
        return ""
    return readable_text(result.data) if is_page(result.data) else str(result)


def shown_file(result: Result) -> Shown | None:
    """Return a result that a terminal cannot show as it is: a picture or a page. Returns None for others."""
    if (figure := result.figure()) is not None:
        return figure
    return ("html", result.data["text/html"]) if is_page(result.data) else None


def save_shown(shown: Sequence[Shown], folder: str) -> list[str]:
    """Write each to a file of its own, in order, and return the paths."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    saved = []
    for number, (suffix, content) in enumerate(shown, start=1):
        path = target / f"figure-{number}.{suffix}"
        path.write_bytes(content)
        saved.append(str(path))
    return saved


def announce(printer: Printer, shown: Sequence[Shown], saved: Sequence[str]) -> None:
    """Name the files that were saved, or say how many there are and how to save them."""
    for path in saved:
        printer.write_stderr(f"saved {path}\n")
    if shown and not saved:
        pages = sum(suffix == "html" for suffix, _ in shown)
        counted = [_count(len(shown) - pages, "picture"), _count(pages, "page")]
        what = " and ".join(part for part in counted if part)
        verb = "was" if len(shown) == 1 else "were"
        printer.write_stderr(f"{what} {verb} not saved: --save-figures FOLDER saves them\n")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}" if number else ""
