"""IPython beside a namespace: magics, shell lines, help, display formatters. Plain cells never pass through it.

A preloading zygote builds it before the fork (`prebuild`); elsewhere it is built when a cell needs it or imports
IPython. Without IPython in the image, `!command` and `%pip` lines are all there is.
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
    """What turns IPython's syntax into Python, over the `__main__` module of a context.

    Attributes:
        module: The context's `__main__`: what its cells define lives there.
        ipython: The shell once it is built.
    """

    def __init__(self) -> None:
        # A real module, so that pickle, dataclasses and typing find what a cell defined.
        self.module = types.ModuleType("__main__")
        self.module.__dict__.update(__builtins__=builtins, __name__="__main__", __doc__=None)
        self.ipython: SandboxShell | None = None
        self._is_building = False
        self._publish: Publish | None = None

    def attach(self, publish: Publish) -> None:
        """Take this process over: `__main__` is the module, and what IPython displays goes to `publish`."""
        self._publish = publish
        sys.modules["__main__"] = self.module
        if self.ipython is None:
            after_import("IPython", lambda _module: self.build())
        else:
            self.ipython.connect(publish)

    def build(self) -> SandboxShell | None:
        """IPython's shell; None where the image has no IPython, or while it is being built."""
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
        """Build it in a process that will fork interpreters, and whose own `__main__` stays."""
        main = sys.modules["__main__"]
        try:
            if self.build() is not None:
                # IPython makes its formatters with the first value, which takes as long as a hundred cells.
                self.format(0)
        finally:
            sys.modules["__main__"] = main

    def translate(self, source: str) -> str:
        """Source that is no Python, as Python; unchanged where nothing in it is IPython's."""
        if not has_special_syntax(source):
            return source
        shell = self.build()
        if shell is not None:
            translated: str = shell.transform_cell(source)
            # It ends what it is given with a newline, also where nothing else changed.
            return source if translated.rstrip("\n") == source.rstrip("\n") else translated
        self.module.__dict__["__sandbox_shell__"] = run_shell_line
        return rewrite_shell_lines(source)

    def trigger(self, *events: str) -> None:
        """Call what extensions registered for these events of IPython (`autoreload` for one)."""
        if self.ipython is not None:
            for event in events:
                self.ipython.trigger(event)

    def format(self, value: Any) -> dict[str, Any] | None:
        """MIME type to content by IPython's display formatters; None where it is not built."""
        return None if self.ipython is None else self.ipython.format(value)

    def format_error(self, error: BaseException) -> list[str] | None:
        """The traceback as `%xmode` wants it; None where it was not asked for."""
        return None if self.ipython is None else self.ipython.format_error(error)
