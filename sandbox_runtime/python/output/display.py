"""Sends values, `display()` calls and open figures, in order with the cell's output."""

from __future__ import annotations

import builtins
import itertools
import sys
from typing import TYPE_CHECKING, Any

from sandbox_runtime.python.import_hooks import after_import
from sandbox_runtime.python.output import charts, fonts, tables
from sandbox_runtime.python.output.mime_bundles import Bundle, build_bundle, encode_bundle, is_figure

if TYPE_CHECKING:
    from types import ModuleType

    from sandbox_runtime.python.ipython import Shell
    from sandbox_runtime.python.output.frame_sender import FrameSender
    from sandbox_runtime.python.output.stdio import Streams


class DisplayHandle:
    """The result of `display(..., display_id=...)`, like IPython's.

    Attributes:
        display_id: The name of the display.
    """

    def __init__(self, displays: Displays, display_id: str) -> None:
        self._displays = displays
        self.display_id = display_id

    def display(self, value: Any) -> None:
        """Show a value under this name again."""
        self._displays.display(value, display_id=self.display_id)

    def update(self, value: Any) -> None:
        """Replace the output that has this name."""
        self._displays.display(value, display_id=self.display_id, update=True)


def _readable(bundle: Bundle) -> dict[str, Any]:
    """Return a figure's picture and text in the form that IPython's displays have."""
    pictures: dict[str, Any] = {mime: content for mime, content in bundle.items() if mime.startswith("image/")}
    return pictures | {"text/plain": bundle.get("text/plain", b"").decode()}


class Displays:
    """A sender of one interpreter's results, in order with its output."""

    def __init__(self, sender: FrameSender, streams: Streams, shell: Shell) -> None:
        self._sender = sender
        self._streams = streams
        self._shell = shell
        self._numbers = itertools.count(1)

    def install(self) -> None:
        """Make `display` a builtin, unless IPython provides its own, and prepare to capture figures."""
        if self._shell.ipython is None:
            builtins.display = self.display  # type: ignore[attr-defined]
        after_import("matplotlib.axes", charts.record_boxes)
        after_import("matplotlib.font_manager", fonts.add_fallback_fonts)
        after_import("matplotlib.pyplot", self._patch_pyplot)
        after_import("pandas", tables.show_as_in_a_notebook)
        after_import("plotly.io", self._patch_plotly)

    def display(
        self, *values: Any, display_id: Any = None, raw: bool = False, update: bool = False, **_options: Any
    ) -> DisplayHandle | None:
        """Show values, in order with printed text. `display_id` names the output for `update_display`."""
        name = f"display-{next(self._numbers)}" if display_id is True else str(display_id or "")
        for value in values:
            bundle = encode_bundle(value) if raw and isinstance(value, dict) else self.bundle(value)
            self.send(bundle, name, is_update=update)
        return DisplayHandle(self, name) if name and not update else None

    def publish(self, data: dict[str, Any], *, transient: dict[str, Any] | None = None, **options: Any) -> None:
        """Send what IPython displays."""
        name = str((transient or {}).get("display_id", ""))
        self.send(encode_bundle(data), name, is_update=bool(options.get("update", False)))

    def bundle(self, value: Any) -> Bundle:
        """Format a value as a MIME bundle."""
        return build_bundle(value, self._shell.format, is_adapted=self._shell.is_adapted)

    def show_value(self, value: Any) -> None:
        """Show the value of a cell's last expression."""
        bundle = self.bundle(value)
        if is_figure(value):
            # Closed, so that the end of the cell does not show it again.
            sys.modules["matplotlib.pyplot"].close(value)
        # Held back, so that a short cell's result is sent together with its end.
        self._sender.hold()
        self.send(bundle, is_main=True)

    def show_hooked(self, value: Any) -> None:
        """Show a value that is passed to `sys.displayhook`, unless it is None."""
        if value is not None:
            self.send(self.bundle(value), is_main=True)

    def show_statement(self, value: Any) -> None:
        """Show the value of an expression that is not the cell's last, unless it is None."""
        if value is not None:
            self.display(value)

    def show_figures(self) -> None:
        """Show and close the open figures."""
        pyplot = sys.modules.get("matplotlib.pyplot")
        if pyplot is None or not hasattr(pyplot, "get_fignums"):
            return
        try:
            for number in pyplot.get_fignums():
                bundle = self.bundle(pyplot.figure(number))
                if not self._shell.capture(_readable(bundle)):
                    self.send(bundle)
        finally:
            pyplot.close("all")

    def send(self, bundle: Bundle, display_id: str = "", *, is_main: bool = False, is_update: bool = False) -> None:
        """Send one result. An empty bundle is a value that has displayed itself."""
        if not bundle:
            return
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
            self._streams.late_cell(),
        )

    def _patch_plotly(self, module: ModuleType) -> None:
        # `figure.show()` calls this. plotly's own function would look for a browser.
        def show(figure: Any, *_arguments: Any, **_options: Any) -> None:
            self.display(figure)

        module.show = show  # type: ignore[attr-defined]

    def _patch_pyplot(self, pyplot: ModuleType) -> None:
        # Not a method: matplotlib sets the signature of this function.
        def show(*_arguments: Any, **_options: Any) -> None:
            self.show_figures()

        # Agg's own show() does nothing, and the next plot would be drawn over this one.
        pyplot.show = show  # type: ignore[attr-defined]
