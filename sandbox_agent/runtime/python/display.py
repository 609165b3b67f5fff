"""Values as MIME bundles, `display()`, and matplotlib figures that a cell leaves open."""

from __future__ import annotations

import base64
import builtins
import io
import itertools
import json
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sandbox_agent.runtime.python.sender import FrameSender
    from sandbox_agent.runtime.python.streams import Streams

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
_MAX_PART: Final = 32 << 20
_MAX_TEXT: Final = 4 << 20


def build_bundle(value: Any) -> Bundle:
    """MIME type to content of a value; methods of user code that fail are left out, except `repr`."""
    if _is_figure(value):
        return {"text/plain": repr(value).encode(errors="backslashreplace"), "image/png": render_figure(value)}
    bundle: dict[str, Any] = {}
    if not isinstance(value, type):
        bundle |= _from_mimebundle(value)
        for method, mime in _METHODS.items():
            if mime not in bundle:
                bundle[mime] = _call(value, method)
    if "text/plain" not in bundle:
        bundle["text/plain"] = repr(value)
    return encode_bundle(bundle)


def encode_bundle(bundle: dict[str, Any]) -> Bundle:
    """Contents of a bundle as bytes; None, and what is too large, left out."""
    encoded = {mime: _encode(mime, content) for mime, content in bundle.items() if content is not None}
    return {mime: content for mime, content in encoded.items() if content is not None}


def render_figure(figure: Any) -> bytes:
    """A matplotlib figure as PNG."""
    target = io.BytesIO()
    figure.savefig(target, format="png", bbox_inches="tight")
    return target.getvalue()


def _is_figure(value: Any) -> bool:
    module = sys.modules.get("matplotlib.figure")
    return module is not None and isinstance(value, module.Figure)


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
    # Some methods answer (data, metadata).
    return found[0] if isinstance(found, tuple) and found else found


def _encode(mime: str, content: Any) -> bytes | None:
    try:
        if isinstance(content, bytes | bytearray | memoryview):
            data = bytes(content)
        elif isinstance(content, str):
            data = base64.b64decode(content) if mime in _BINARY else content.encode(errors="backslashreplace")
        else:
            data = json.dumps(content).encode()
    except (ValueError, TypeError):
        return None
    if mime == "text/plain" and len(data) > _MAX_TEXT:
        return (
            data[:_MAX_TEXT].decode(errors="ignore").encode() + f"... ({len(data) - _MAX_TEXT} bytes left out)".encode()
        )
    return data if len(data) <= _MAX_PART else None


class Displays:
    """Sends results of one interpreter, in order with its output."""

    def __init__(self, sender: FrameSender, streams: Streams) -> None:
        self._sender = sender
        self._streams = streams
        self._numbers = itertools.count(1)
        self._patched = False

    def install(self) -> None:
        """Make `display` a builtin."""
        builtins.display = self.display  # type: ignore[attr-defined]
        self.adopt_ipython()

    def adopt_ipython(self) -> None:
        """Where IPython has been imported, have its `display` arrive here; without its shell it would only print."""
        functions = sys.modules.get("IPython.core.display_functions")
        if functions is None or self._patched:
            return
        public = sys.modules.get("IPython.display")
        replacements = {
            "display": self.display,
            "update_display": self.update_display,
            "publish_display_data": self._publish,
        }
        for module in (functions, public):
            for name, function in replacements.items():
                if module is not None and hasattr(module, name):
                    setattr(module, name, function)
        self._patched = public is not None

    def display(
        self, *values: Any, display_id: Any = None, raw: bool = False, update: bool = False, **_options: Any
    ) -> None:
        """Show values now, in order with what is printed. `display_id` names the output for `update_display`."""
        name = f"display-{next(self._numbers)}" if display_id is True else str(display_id or "")
        for value in values:
            self.send(
                encode_bundle(value) if raw and isinstance(value, dict) else build_bundle(value), name, is_update=update
            )

    def update_display(self, value: Any, *, display_id: str, **options: Any) -> None:
        """Change what was shown under `display_id`."""
        self.display(value, display_id=display_id, update=True, **options)

    def _publish(
        self, data: dict[str, Any], *_arguments: Any, transient: dict[str, Any] | None = None, **options: Any
    ) -> None:
        name = str((transient or {}).get("display_id", ""))
        self.send(encode_bundle(data), name, is_update=bool(options.get("update", False)))

    def show_figures(self) -> None:
        """Show and close the figures that are still open."""
        pyplot = sys.modules.get("matplotlib.pyplot")
        if pyplot is None:
            return
        try:
            for number in pyplot.get_fignums():
                self.send(build_bundle(pyplot.figure(number)))
        finally:
            pyplot.close("all")

    def send(self, bundle: Bundle, display_id: str = "", *, is_main: bool = False, is_update: bool = False) -> None:
        """One result."""
        self._streams.flush()
        self._sender.result(
            {
                "type": "result",
                "is_main": is_main,
                "display_id": display_id,
                "is_update": is_update,
                "parts": [[mime, len(content)] for mime, content in bundle.items()],
            },
            bundle.values(),
        )
