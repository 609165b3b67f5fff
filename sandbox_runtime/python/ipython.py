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

from sandbox_runtime.python.import_hooks import after_import
from sandbox_runtime.python.shell_lines import has_special_syntax, rewrite_shell_lines, run_shell_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox_runtime.python.ipython_shell import SandboxShell

    Publish = Callable[..., None]


class Shell:
    """A translator from IPython's syntax to Python, for the `__main__` module of a context.

    Attributes:
        module: The context's `__main__`, which has the names that its cells define.
        ipython: IPython's shell; None until it is built.
    """

    def __init__(self) -> None:
        # A real module, so that pickle, dataclasses and typing find what a cell defined.
        self.module = types.ModuleType("__main__")
        self.module.__dict__.update(__builtins__=builtins, __name__="__main__", __doc__=None)
        self.ipython: SandboxShell | None = None
        self._is_building = False
        self._publish: Publish | None = None

    def attach(self, publish: Publish) -> None:
        """Make the module this process's `__main__`, and send what IPython displays to `publish`."""
        self._publish = publish
        sys.modules["__main__"] = self.module
        if self.ipython is None:
            builtins.get_ipython = self.build  # type: ignore[attr-defined]
            after_import("IPython", lambda _module: self.build())
        else:
            self.ipython.connect(publish)

    def build(self) -> SandboxShell | None:
        """Build IPython's shell. Returns None if the image lacks IPython, or during the build."""
        if self.ipython is not None or self._is_building:
            return self.ipython
        self._is_building = True
        try:
            if importlib.util.find_spec("IPython") is None:
                return None
            from sandbox_runtime.python.ipython_shell import build_shell  # noqa: PLC0415 - 0.3 s

            self.ipython = build_shell(self.module)
        finally:
            self._is_building = False
        if self._publish is not None:
            self.ipython.connect(self._publish)
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
        if not has_special_syntax(source):
            return source
        shell = self.build()
        if shell is not None:
            translated: str = shell.transform_cell(source)
            # transform_cell appends a newline even if it changes nothing else.
            return source if translated.rstrip("\n") == source.rstrip("\n") else translated
        self.module.__dict__["__sandbox_shell__"] = run_shell_line
        return rewrite_shell_lines(source)

    @property
    def interactivity(self) -> str:
        """IPython's option `ast_node_interactivity`: which values a cell shows."""
        return "last_expr" if self.ipython is None else str(self.ipython.ast_node_interactivity)

    def trigger(self, *events: str) -> None:
        """Call the handlers of extensions, such as `autoreload`, for these events of IPython."""
        if self.ipython is not None:
            for event in events:
                self.ipython.trigger(event)

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
