"""Formats values as MIME bundles, with more formats for the values of well-known libraries."""

from __future__ import annotations

import base64
import io
import sys
from json import dumps, loads
from typing import TYPE_CHECKING, Any, Final

from sandbox_runtime.python.output.charts import CHART_MIME, describe_figure
from sandbox_runtime.python.output.fonts import one_note_for_missing_characters
from sandbox_runtime.python.output.tables import TABLE_MIME, describe_table

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Bundle = dict[str, bytes]
_METHODS: Final = {
    "_repr_html_": "text/html",
    "_repr_markdown_": "text/markdown",
    "_repr_latex_": "text/latex",
    "_repr_json_": "application/json",
    "_repr_javascript_": "application/javascript",
    "_repr_svg_": "image/svg+xml",
    "_repr_png_": "image/png",
    "_repr_jpeg_": "image/jpeg",
    "_repr_pdf_": "application/pdf",
}
_BINARY: Final = frozenset({"image/png", "image/jpeg", "application/pdf", "image/gif", "image/webp"})
_SCALARS: Final = frozenset({str, int, float, complex, bool, bytes, range, type(None)})
"""Types that have only a repr. Asking formatters for more would cost more than most cells."""
_CONTAINERS: Final = frozenset({list, tuple, dict, set, frozenset})
_LINE: Final = 80
"""IPython spreads longer containers over several lines."""
_MAX_DEPTH: Final = 5
_MAX_PART: Final = 32 << 20
"""Bytes of a form. The agent leaves out forms of more than 3 MiB, and says so. Still larger ones are not sent to it."""
_MAX_TEXT: Final = 1 << 20
"""Bytes of a value's text. With the other forms it must fit into a message of the agent."""
_MAX_REPR: Final = 10_000
_MAX_REASON: Final = 200
_TEXT: Final = "text/plain"
_PLOTLY_MIME: Final = "application/vnd.plotly.v1+json"
_BOKEH_MIME: Final = "application/vnd.bokeh.item+json"


def build_bundle(
    value: Any, formatter: Callable[[Any], dict[str, Any] | None] = lambda _: None, *, is_adapted: bool = False
) -> Bundle:
    """Return the MIME bundle of a value. It is empty if the value has displayed itself.

    Args:
        value: The value to show.
        formatter: IPython's formatters. Returns None if IPython is not available.
        is_adapted: True if user code has changed how IPython formats simple values.
    """
    if not is_adapted and (type(value) in _SCALARS or type(value) in _CONTAINERS):
        text = repr(value)
        # IPython would end a container that is too large by "...", without its size.
        if len(text) > _MAX_TEXT or (len(text) < _LINE and _is_simple(value, 0)) or type(value) in _SCALARS:
            return encode_bundle({"text/plain": text})
    bundle = plotly_bundle(value) or formatter(value)
    if bundle is None:
        bundle = _find_formats(value)
        if bundle:
            bundle |= library_formats(value, bundle)
    return encode_bundle(bundle)


def encode_bundle(bundle: Mapping[str, Any]) -> Bundle:
    """Encode the contents of a bundle. The text names each form that cannot be encoded or is too large."""
    encoded: Bundle = {}
    notes = []
    for mime, content in bundle.items():
        if content is None:
            continue
        try:
            data = _encode(mime, content)
        except (ValueError, TypeError, RecursionError) as error:
            notes.append(f"<{mime} cannot be shown: {type(error).__name__}: {str(error)[:_MAX_REASON]}>")
            continue
        if len(data) <= _MAX_PART:
            encoded[mime] = data
        else:
            notes.append(f"<{mime} of {len(data)} bytes is too large to be shown: write it to a file>")
    if notes:
        text = [encoded[_TEXT].decode(errors="replace")] if _TEXT in encoded else []
        encoded[_TEXT] = "\n".join([*text, *notes]).encode(errors="backslashreplace")
    return encoded


def library_formats(value: Any, known: Mapping[str, Any]) -> dict[str, Any]:
    """Return further formats of a matplotlib figure, a pandas table or a bokeh chart.

    Args:
        value: The value to show.
        known: The formats that it has already.
    """
    added: dict[str, Any] = {}
    if is_figure(value):
        # `%config InlineBackend.figure_formats` may have chosen another format than PNG.
        if not any(mime.startswith("image/") for mime in known) and not _is_blank(value):
            added["image/png"] = render_figure(value)
        added[CHART_MIME] = _attempt(describe_figure, value)
    elif (origin := _origin(value)) == "pandas":
        added[TABLE_MIME] = _attempt(describe_table, value)
    elif origin == "bokeh" and (embed := _attempt(_import_bokeh, value)) is not None:
        added[_BOKEH_MIME] = _attempt(lambda: embed.json_item(value))
        added["text/html"] = _attempt(lambda: embed.file_html(value, "cdn"))
    return {mime: content for mime, content in added.items() if content is not None}


def plotly_bundle(value: Any) -> dict[str, Any]:
    """Return the bundle of a plotly figure, and {} for anything else. The figure's own methods look for a browser."""
    if _origin(value) != "plotly" or not hasattr(value, "to_plotly_json"):
        return {}
    forms = {
        _TEXT: _beginning(repr(value)),
        _PLOTLY_MIME: _attempt(value.to_json),
        "text/html": _attempt(lambda: value.to_html(full_html=False, include_plotlyjs="cdn")),
    }
    return {mime: content for mime, content in forms.items() if content is not None}


def _beginning(text: str) -> str:
    if len(text) <= _MAX_REPR:
        return text
    return f"{text[:_MAX_REPR]}... ({len(text) - _MAX_REPR} of {len(text)} characters left out)"


def render_figure(figure: Any) -> bytes:
    """Render a matplotlib figure as PNG."""
    target = io.BytesIO()
    with one_note_for_missing_characters():
        figure.savefig(target, format="png", bbox_inches="tight")
    return target.getvalue()


def _is_blank(figure: Any) -> bool:
    return not (figure.axes or figure.lines or figure.texts or figure.images or figure.patches)


def is_figure(value: Any) -> bool:
    """Return True for a matplotlib figure."""
    module = sys.modules.get("matplotlib.figure")
    return module is not None and isinstance(value, module.Figure)


def _find_formats(value: Any) -> dict[str, Any]:
    """Return what IPython's formatters would find. Skips methods of user code that fail, except `repr`."""
    bundle: dict[str, Any] = {}
    if not isinstance(value, type):
        if _has_displayed_itself(value):
            return {}
        bundle |= _from_mimebundle(value)
        for method, mime in _METHODS.items():
            if mime not in bundle and (content := _call(value, method)) is not None:
                bundle[mime] = content
    if "text/plain" not in bundle:
        bundle["text/plain"] = repr(value)
    return bundle


def _is_simple(value: Any, depth: int) -> bool:
    """Return True if IPython's text of a short value is its repr: it sorts sets, and shortens names of classes."""
    kind = type(value)
    if kind in _SCALARS:
        return True
    if depth > _MAX_DEPTH:
        return False
    if kind is dict:
        return all(_is_simple(key, depth + 1) and _is_simple(value[key], depth + 1) for key in value)
    if kind is list or kind is tuple or (kind in _CONTAINERS and len(value) <= 1):
        return all(_is_simple(item, depth + 1) for item in value)
    return False


def _origin(value: Any) -> str:
    return str(type(value).__module__).partition(".")[0]


def _attempt(describe: Callable[..., Any], *arguments: Any) -> Any:
    # A failure in the library costs this format, not the cell.
    try:
        return describe(*arguments)
    except Exception:  # noqa: BLE001 - as above
        return None


def _import_bokeh(value: Any) -> Any:
    import bokeh.embed  # noqa: PLC0415 - only if a bokeh object is shown
    from bokeh.models import LayoutDOM  # noqa: PLC0415 - same

    return bokeh.embed if isinstance(value, LayoutDOM) else None


def _has_displayed_itself(value: Any) -> bool:
    method = getattr(type(value), "_ipython_display_", None)
    if not callable(method):
        return False
    try:
        method(value)
    except Exception:  # noqa: BLE001 - user code; the other representations remain
        return False
    return True


def _from_mimebundle(value: Any) -> dict[str, Any]:
    found = _call(value, "_repr_mimebundle_", include=None, exclude=None)
    return (
        {mime: content for mime, content in found.items() if isinstance(mime, str)} if isinstance(found, dict) else {}
    )


def _call(value: Any, name: str, **arguments: Any) -> Any:
    try:
        method = getattr(value, name, None)
        found = method(**arguments) if callable(method) else None
    except Exception:  # noqa: BLE001 - user code; the other representations remain
        return None
    # Some methods return (data, metadata).
    return found[0] if isinstance(found, tuple) and found else found


def _encode(mime: str, content: Any) -> bytes:
    if isinstance(content, bytes | bytearray | memoryview):
        data = bytes(content)
    elif mime == "application/json" or mime.endswith("+json"):
        data = _encode_json(content)
    elif isinstance(content, str):
        data = base64.b64decode(content) if mime in _BINARY else content.encode(errors="backslashreplace")
    else:
        data = dumps(content).encode()
    if mime == "text/plain" and len(data) > _MAX_TEXT:
        note = f"... ({len(data) - _MAX_TEXT} of {len(data)} bytes left out: write the value to a file)"
        return data[:_MAX_TEXT].decode(errors="ignore").encode() + note.encode()
    return data


def _encode_json(content: Any) -> bytes:
    if isinstance(content, str):
        # Some values are JSON, others are plain strings.
        try:
            loads(content)
        except ValueError:
            return dumps(content).encode()
        return content.encode()
    return dumps(content).encode()
