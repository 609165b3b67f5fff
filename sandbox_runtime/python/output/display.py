"""`display()` and what a cell leaves open, sent in order with its output."""

from __future__ import annotations

import builtins
import itertools
import sys
from typing import TYPE_CHECKING, Any

from sandbox_runtime.python.import_hooks import after_import
from sandbox_runtime.python.output import charts
from sandbox_runtime.python.output.mime_bundles import Bundle, build_bundle, encode_bundle, is_figure

if TYPE_CHECKING:
    from types import ModuleType

    from sandbox_runtime.python.ipython import Shell
    from sandbox_runtime.python.output.frame_sender import FrameSender
    from sandbox_runtime.python.output.stdio import Streams


class DisplayHandle:
    """What `display(..., display_id=...)` answers, as IPython's does.

    Attributes:
        display_id: The display's name.
    """

    def __init__(self, displays: Displays, display_id: str) -> None:
        self._displays = displays
        self.display_id = display_id

    def display(self, value: Any) -> None:
        """Show a value under this name again."""
        self._displays.display(value, display_id=self.display_id)

    def update(self, value: Any) -> None:
        """Replace what is shown under this name."""
        self._displays.display(value, display_id=self.display_id, update=True)


class Displays:
    """Sends results of one interpreter, in order with its output."""

    def __init__(self, sender: FrameSender, streams: Streams, shell: Shell) -> None:
        self._sender = sender
        self._streams = streams
        self._shell = shell
        self._numbers = itertools.count(1)

    def install(self) -> None:
        """Make `display` a builtin (IPython's own, where that is there) and let figures be captured."""
        if self._shell.ipython is None:
            builtins.display = self.display  # type: ignore[attr-defined]
        after_import("matplotlib.axes", charts.record_boxes)
        after_import("matplotlib.pyplot", self._adopt_pyplot)
        after_import("plotly.io", self._adopt_plotly)

    def display(
        self, *values: Any, display_id: Any = None, raw: bool = False, update: bool = False, **_options: Any
    ) -> DisplayHandle | None:
        """Show values now, in order with what is printed. `display_id` names the output for `update_display`."""
        name = f"display-{next(self._numbers)}" if display_id is True else str(display_id or "")
        for value in values:
            bundle = encode_bundle(value) if raw and isinstance(value, dict) else self.bundle(value)
            self.send(bundle, name, is_update=update)
        return DisplayHandle(self, name) if name and not update else None

    def publish(self, data: dict[str, Any], *, transient: dict[str, Any] | None = None, **options: Any) -> None:
        """What IPython displays."""
        name = str((transient or {}).get("display_id", ""))
        self.send(encode_bundle(data), name, is_update=bool(options.get("update", False)))

    def bundle(self, value: Any) -> Bundle:
        """MIME type to content of a value."""
        return build_bundle(value, self._shell.format)

    def show_value(self, value: Any) -> None:
        """The value of a cell's last expression."""
        bundle = self.bundle(value)
        if is_figure(value):
            # Shown now, so not again at the end of the cell.
            sys.modules["matplotlib.pyplot"].close(value)
        # Held back, so that the result of a short cell travels with its end.
        self._sender.hold()
        self.send(bundle, is_main=True)

    def show_figures(self) -> None:
        """Show and close the figures that are open."""
        pyplot = sys.modules.get("matplotlib.pyplot")
        if pyplot is None or not hasattr(pyplot, "get_fignums"):
            return
        try:
            for number in pyplot.get_fignums():
                self.send(self.bundle(pyplot.figure(number)))
        finally:
            pyplot.close("all")

    def send(self, bundle: Bundle, display_id: str = "", *, is_main: bool = False, is_update: bool = False) -> None:
        """One result; none where the value has displayed itself."""
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
        )

    def _adopt_plotly(self, module: ModuleType) -> None:
        # What `figure.show()` calls; plotly's own would look for a browser.
        def show(figure: Any, *_arguments: Any, **_options: Any) -> None:
            self.display(figure)

        module.show = show  # type: ignore[attr-defined]

    def _adopt_pyplot(self, pyplot: ModuleType) -> None:
        # A function, because matplotlib sets its signature; a method has none to be set.
        def show(*_arguments: Any, **_options: Any) -> None:
            self.show_figures()

        # Agg's own does nothing, and the next plot would be drawn over this one.
        pyplot.show = show  # type: ignore[attr-defined]
