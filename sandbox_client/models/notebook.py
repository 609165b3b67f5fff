"""Shows results in a notebook: text, pictures, tables and errors, as the notebook's own cell would.

The content may come from hostile code, and a notebook runs the scripts in the HTML that it shows. They could then run
code in the notebook itself. So HTML that could do anything is shown in a frame without access to the page. Types that
are not known to be harmless are left out.
"""

from __future__ import annotations

import base64
import html
import json
import re
import sys
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.models.text.forms import text_form

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_PICTURES: Final = ("image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf")
_DATA: Final = re.compile(r"application/(json|geo\+json|vnd\.(plotly|vega|vegalite)\.v\d+\+json)")
_STYLE: Final = re.compile(r"<style scoped>[^<]*</style>")
_TAG: Final = re.compile(r"</?([a-z][a-z0-9]*)((?:\s+[a-z]+=(?:\"[^\"<>]*\"|'[^'<>]*'|[\w%.]+))*)\s*/?>")
_TEXT_TAGS: Final = (
    r"b|blockquote|br|center|code|dd|del|div|dl|dt|em|font|h[1-6]|hr|i|ins|kbd|li|ol|p|pre|q|s|samp|small"
)
_TABLE_TAGS: Final = r"caption|col|colgroup|table|tbody|td|tfoot|th|thead|tr"
_TAGS: Final = re.compile(rf"{_TEXT_TAGS}|span|strong|sub|sup|tt|u|ul|var|{_TABLE_TAGS}")
_ATTRIBUTE: Final = re.compile(r"\s([a-z]+)=(\"[^\"]*\"|'[^']*'|\S+)")
_ATTRIBUTES: Final = re.compile(r"align|border|class|colspan|halign|rowspan|scope|style|title|valign")
_UNSAFE_STYLE: Final = re.compile(r"position|url|\\|@|&|expression|import", re.IGNORECASE)
_UNSAFE_TEXT: Final = {
    "text/markdown": re.compile(r"<|&(#|\w+;)|script:|data:", re.IGNORECASE),
    "text/latex": re.compile(r"\\(href|html|require|class|cssId|style|unicode)"),
}
_FRAME: Final = '<iframe sandbox="allow-scripts" srcdoc="{}" style="width: 100%; height: 450px; border: 0"></iframe>'


def to_bundle(data: Mapping[str, bytes]) -> dict[str, Any]:
    """Return content in Jupyter's form of a MIME bundle: text, base64 for pictures, values for JSON."""
    return {mime: _to_jupyter(mime, content) for mime, content in data.items()}


def display_bundle(data: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the part of a MIME bundle that a notebook may show without running it, in Jupyter's form."""
    shown = {}
    for mime, content in data.items():
        text = content.decode(errors="replace")
        if mime in _PICTURES or mime == "text/plain" or _DATA.fullmatch(mime):
            shown[mime] = _to_jupyter(mime, content)
        elif mime == "text/html":
            shown[mime] = text if is_inert(text) else _FRAME.format(html.escape(text))
        elif mime == "image/svg+xml":
            # In an <img>, a browser runs no scripts and loads nothing.
            picture = base64.b64encode(content).decode()
            shown.setdefault("text/html", f'<img src="data:image/svg+xml;base64,{picture}">')
        elif mime in _UNSAFE_TEXT and not _UNSAFE_TEXT[mime].search(text):
            shown[mime] = text
    if data and shown.keys() <= {"text/plain"}:
        # What is left out is still shown as text, which a notebook does not run.
        shown["text/plain"] = text_form(data)
    return shown


def is_inert(text: str) -> bool:
    """Return whether HTML consists of text, tables and the like alone. The tables of pandas do."""
    rest = _STYLE.sub("", text)
    if any(not _is_harmless(match) for match in _TAG.finditer(rest)):
        return False
    return "<" not in _TAG.sub("", rest)


def _is_harmless(tag: re.Match[str]) -> bool:
    return _TAGS.fullmatch(tag[1]) is not None and all(
        _ATTRIBUTES.fullmatch(name) and not (name == "style" and _UNSAFE_STYLE.search(value))
        for name, value in _ATTRIBUTE.findall(tag[2])
    )


def _to_jupyter(mime: str, content: bytes) -> Any:
    if (mime.startswith("image/") and mime != "image/svg+xml") or mime == "application/pdf":
        return base64.b64encode(content).decode()
    text = content.decode(errors="replace")
    if mime == "application/json" or mime.endswith("+json"):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def show(parts: Iterable[tuple[str, Any]]) -> None:
    """Show the parts of an execution or command: `stdout` and `stderr` texts, `result` bundles, an `error`.

    Args:
        parts: The kind of each part, and its content. That of an error is its name, its message and its traceback.
    """
    from IPython import get_ipython  # noqa: PLC0415 - only a notebook calls this
    from IPython.display import display  # noqa: PLC0415 - same

    typed: Any = display
    for kind, content in parts:
        if kind == "result":
            typed(display_bundle(content), raw=True)
        elif kind == "error":
            name, value, traceback = content
            shell: Any = get_ipython()
            # The frontend shows it as an error of the cell, which itself ends well.
            shell._showtraceback(type(name, (Exception,), {}), value, list(traceback))  # noqa: SLF001 - ipykernel's
        else:
            stream = sys.stdout if kind == "stdout" else sys.stderr
            stream.write(content)
            # Otherwise the two streams would not keep their order.
            stream.flush()
