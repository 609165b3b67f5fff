"""IPython for a namespace: magics, shell lines, help and display formatters. Plain Python cells do not need it.

A preloading zygote builds it before the fork (`prebuild`). Otherwise it is built when a cell needs it or imports
IPython. If the image lacks IPython, only `!command` and `%pip` lines work. `ipython_shell` is a separate module because
it imports IPython, which takes 0.3 s.
"""

from __future__ import annotations

import builtins
import importlib.util
import sys
import types
from typing import TYPE_CHECKING, Any

from sandbox_runtime.python.history import History
from sandbox_runtime.python.import_hooks import after_import
from sandbox_runtime.python.shell_lines import has_special_syntax, rewrite_shell_lines, run_shell_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox_runtime.python.ipython_shell import ZMQInteractiveShell


class Shell:
    """A translator from IPython's syntax to Python, for the `__main__` module of a context.

    Attributes:
        module: The context's `__main__`, which has the names that its cells define.
        ipython: IPython's shell; None until it is built.
        history: The inputs and values of cells.
    """

    def __init__(self) -> None:
        # A real module, so that pickle, dataclasses and typing find what a cell defined.
        self.module = types.ModuleType("__main__")
        self.module.__dict__.update(__builtins__=builtins, __name__="__main__", __doc__=None)
        self.ipython: ZMQInteractiveShell | None = None
        self.history = History(self.module.__dict__)
        self._is_building = False
        self._targets: tuple[Callable[..., None], Callable[[Any], None], Callable[[], None]] | None = None
        self._show: Callable[[Any], None] = sys.__displayhook__

    def attach(
        self, publish: Callable[..., None], show: Callable[[Any], None], show_figures: Callable[[], None]
    ) -> None:
        """Make the module this process's `__main__`.

        Args:
            publish: Takes what IPython displays.
            show: Shows a value, as `sys.displayhook` does.
            show_figures: Shows the open figures.
        """
        self._targets = (publish, show, show_figures)
        self._show = show
        sys.modules["__main__"] = self.module
        if self.ipython is None:
            builtins.get_ipython = self.build  # type: ignore[attr-defined]
            after_import("IPython", lambda _module: self.build())
        else:
            self.ipython.connect(*self._targets)

    def build(self) -> ZMQInteractiveShell | None:
        """Build IPython's shell. Returns None if the image lacks IPython, or during the build."""
        if self.ipython is not None or self._is_building:
            return self.ipython
        self._is_building = True
        try:
            if importlib.util.find_spec("IPython") is None:
                return None
            from sandbox_runtime.python.ipython_shell import build_shell  # noqa: PLC0415 - 0.3 s

            self.ipython = build_shell(self.module, self.history)
        finally:
            self._is_building = False
        if self._targets is not None:
            self.ipython.connect(*self._targets)
        return self.ipython

    def prebuild(self) -> None:
        """Build the shell in a process that will fork interpreters, and keep that process's `__main__`."""
        main = sys.modules["__main__"]
        try:
            if self.build() is not None:
                # IPython creates its formatters for the first value, which takes as long as a hundred cells.
                self.format(0)
        finally:
            sys.modules["__main__"] = main

    def translate(self, source: str) -> str:
        """Translate IPython's syntax in a source to Python. Returns other sources unchanged."""
        if not self.transforms_sources and not has_special_syntax(source):
            return source
        shell = self.build()
        if shell is not None:
            translated: str = shell.transform_cell(source)
            # transform_cell appends a newline even if it changes nothing else.
            if translated.rstrip("\n") == source.rstrip("\n"):
                return source
            self.history.translate(translated.rstrip("\n"))
            return translated
        self.module.__dict__["__sandbox_shell__"] = run_shell_line
        return rewrite_shell_lines(source)

    @property
    def interactivity(self) -> str:
        """IPython's option `ast_node_interactivity`: which values a cell shows."""
        return "last_expr" if self.ipython is None else str(self.ipython.ast_node_interactivity)

    @property
    def adapts_cells(self) -> bool:
        """True if IPython's options or the user's transformers change what cells do or show."""
        return self.ipython is not None and self.ipython.adapts_cells

    @property
    def transforms_sources(self) -> bool:
        """True if user code has added transformers of input."""
        return self.ipython is not None and self.ipython.transforms_sources

    @property
    def is_adapted(self) -> bool:
        """True if user code has changed how simple values are formatted."""
        return self.ipython is not None and self.ipython.is_adapted

    @property
    def hook(self) -> Callable[[Any], None]:
        """The function that shows a value, for `sys.displayhook`."""
        return self._show if self.ipython is None else self.ipython.displayhook

    def transform_tree(self, tree: Any) -> Any:
        """Apply the transformers of syntax trees that user code has added."""
        return tree if self.ipython is None else self.ipython.transform_ast(tree)

    def begin_cell(self, source: str) -> None:
        """Call the handlers that extensions, such as `autoreload`, have registered for the beginning of a cell."""
        if self.ipython is not None:
            self.ipython.begin_cell(source)

    def end_cell(self, value: Any, error: BaseException | None) -> None:
        """Call the handlers for the end of a cell, and the user's handler of its exception."""
        if self.ipython is not None:
            self.ipython.end_cell(value, error)

    def capture(self, data: dict[str, Any]) -> bool:
        """Pass a bundle to code that captures displays, such as `%%capture`. Returns False if there is none."""
        if self.ipython is None or self.ipython.display_pub is self.ipython.publisher:
            return False
        self.ipython.display_pub.publish(data)
        return True

    def format(self, value: Any) -> dict[str, Any] | None:
        """Format a value with IPython, as a dict of MIME type to content. Returns None if the image lacks IPython.

        Builds the shell if need be, so that a value looks the same in every context.

        Raises:
            Exception: The value's `repr` raised it.
        """
        shell = self.build()
        return None if shell is None else shell.format(value)

    def format_error(self, error: BaseException) -> list[str] | None:
        """Format a traceback in the mode of `%xmode`. Returns None if the user has not chosen a mode."""
        return None if self.ipython is None else self.ipython.format_error(error)
