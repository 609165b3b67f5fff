"""Puts what code printed and showed into one text for a model, in its order. Pure: no I/O."""

from __future__ import annotations

import itertools
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.models.readable import join_lines
from sandbox_client.models.results import CommandResult, Execution, in_order
from sandbox_client.models.text.forms import is_description, is_placeholder, name_forms, text_form
from sandbox_client.models.text.last_state import last_state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox_client.models.results import Result

_FORMATS: Final = {"image/png": "png", "image/jpeg": "jpeg", "image/gif": "gif", "image/webp": "webp"}


def image_format(content: bytes) -> str:
    """Return a picture's format by its first 12 bytes, or "" if it is not a picture that a model can see."""
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if content.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if content.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "webp"
    return ""


def displayed_pictures(execution: Execution) -> tuple[bytes, ...]:
    """Return the pictures that code displayed, in order, without those that a model cannot see."""
    pictures = (_picture(result) for result in execution.results)
    return tuple(content for content in pictures if content is not None)


def shown_text(end: Execution | CommandResult, shown_instead: str = "") -> str:
    """Return standard output and the text form of each result, in order. Progress bars are in their last state.

    A picture is named where it came, as `[picture 1: Figure size 640x480 with 1 Axes]`. Its number is its place in
    `displayed_pictures`.

    Args:
        end: A cell or command that has ended.
        shown_instead: A picture file that the model sees in place of a single displayed picture, or "".
    """
    results = end.results if isinstance(end, Execution) else ()
    # Text on standard error has a place of its own, and does not split a line of standard output.
    order = [entry for entry in end.order if entry[0] != "stderr"]
    is_single = sum(_picture(result) is not None for result in results) == 1
    remark = f"not shown beside {shown_instead}" if shown_instead and is_single else ""
    shown = in_order(tuple(order), stdout=end.stdout, stderr="", result=results)
    return join_lines(_parts(shown, remark), keeps_end=True)


def _parts(shown: Iterator[tuple[str, Any]], remark: str) -> Iterator[str]:
    number = 0
    for kind, group in itertools.groupby(shown, key=itemgetter(0)):
        if kind == "stdout":
            yield last_state("".join(text for _, text in group))
            continue
        for _, result in group:
            is_picture = _picture(result) is not None
            number += is_picture
            yield _name_picture(number, result, remark) if is_picture else _text_of(result)


def _picture(result: Result) -> bytes | None:
    pictures = (result.data[mime] for mime in _FORMATS if mime in result.data)
    return next((content for content in pictures if image_format(content)), None)


def _name_picture(number: int, result: Result, remark: str) -> str:
    text = result.text or ""
    described = "" if is_placeholder(text) else text[1:-1] if is_description(text) else text
    more = "; ".join(part for part in (described, remark) if part)
    return f"[picture {number}: {more}]" if more else f"[picture {number}]"


def _text_of(result: Result) -> str:
    figure = result.figure()
    if figure is None:
        return text_form(result.data)
    suffix, _ = figure
    text = result.text or ""
    named = f"{text}\n" if text and not is_description(text) else ""
    return f"{named}{name_forms(result.data)[:-1]}: a model cannot see {suffix.upper()}, save it as PNG]"
