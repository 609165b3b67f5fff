"""IPython's InteractiveShell for a context, without terminal, history or GUI. The runtime sends its output.

Imports IPython, which takes 0.3 s, so `ipython` imports this module late.
"""

from __future__ import annotations

import builtins
import os
import sys
import traceback
from typing import TYPE_CHECKING, Any, Final

from IPython.core import page
from IPython.core.displaypub import DisplayPublisher
from IPython.core.formatters import DisplayFormatter
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from sandbox_runtime.python.output.mime_bundles import library_formats, plotly_bundle
from sandbox_runtime.python.output.user_frames import drop_internal_frames
from sandbox_runtime.python.shell_lines import run_shell_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

_OWN_MODE: Final = "Plain"
"""The mode of `%xmode` in which the runtime formats tracebacks itself."""


class _Publisher(DisplayPublisher):
    """A publisher that passes everything displayed to a function of the runtime."""

    target: Callable[..., None] | None = None

    def publish(self, data: Any, metadata: Any = None, *_ignored: Any, **options: Any) -> None:
        del metadata
        if self.target is not None:
            self.target(data, **options)

    def clear_output(self, wait: bool = False) -> None:  # noqa: FBT001, FBT002 - IPython's signature
        """Do nothing: a result that was sent cannot be taken back."""


class _Formatter(DisplayFormatter):
    """IPython's formatters plus the runtime's formats for well-known libraries."""

    def format(self, obj: Any, include: Any = None, exclude: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        bundle = plotly_bundle(obj)
        if bundle:
            return bundle, {}
        data, metadata = super().format(obj, include=include, exclude=exclude)
        # No data means that the value has displayed itself.
        if data and include is None:
            added = library_formats(obj, data)
            data = {**data, **{mime: content for mime, content in added.items() if mime not in (exclude or ())}}
        return data, metadata


class SandboxShell(InteractiveShell):
    """The shell of one context."""

    def init_virtualenv(self) -> None:
        """Do nothing: the session's packages are on the path already."""

    def init_display_pub(self) -> None:
        """Install the publisher."""
        self.publisher = _Publisher(parent=self, shell=self)
        self.display_pub = self.publisher

    def init_display_formatter(self) -> None:
        """Install the formatter."""
        self._failures: list[Any] | None = None
        self.formatter = _Formatter(parent=self)
        self.display_formatter = self.formatter

    def init_user_ns(self) -> None:
        """Leave the namespace to the user, except for the names that magics need: values, inputs, visited folders."""
        own: dict[str, Any] = {"_oh": {}, "_ih": [""], "_dh": [os.getcwd()]}  # noqa: PTH109 - IPython keeps strings
        self.user_ns_hidden.update(own)
        self.user_ns.update(own)

    def init_hooks(self) -> None:
        """Print text that IPython would show in a pager."""
        super().init_hooks()
        self.set_hook("show_in_pager", page.as_hook(_print_page), 90)

    def enable_gui(self, gui: Any = None) -> None:
        """Do nothing: figures are shown at the end of a cell with any backend."""

    def system(self, cmd: str) -> None:
        """Run a shell line and set `_exit_code` in the namespace."""
        self.user_ns["_exit_code"] = run_shell_line(self.var_expand(cmd, depth=1))

    system_piped = system
    system_raw = system

    def connect(self, publish: Callable[..., None]) -> None:
        """Connect the shell to this process, which will run cells."""
        self.publisher.target = publish
        self.user_ns["_dh"] = [os.getcwd()]  # noqa: PTH109 - IPython keeps strings
        builtins.get_ipython = self.get_ipython  # type: ignore[attr-defined]

    def format(self, value: Any) -> dict[str, Any]:
        """Format a value as a dict of MIME type to content. Returns {} if the value displayed itself.

        Raises:
            Exception: The value has no text, because its `repr` raised this.
        """
        self._failures = []
        try:
            bundle = dict(self.formatter.format(value)[0])
            if "text/plain" not in bundle:
                for error in self._failures:
                    raise error
            for error in self._failures:
                # Another form failed. The value is shown without it.
                drop_internal_frames(error)
                traceback.print_exception(error)
        finally:
            self._failures = None
        return bundle

    def showtraceback(self, exc_tuple: Any = None, *arguments: Any, **options: Any) -> None:
        """Show a traceback, unless a formatter has failed: then `format` decides."""
        error = exc_tuple[1] if exc_tuple else sys.exc_info()[1] or getattr(sys, "last_value", None)
        if self._failures is not None:
            self._failures.append(error)
            return
        if isinstance(error, BaseException):
            drop_internal_frames(error)
            exc_tuple = (type(error), error, error.__traceback__)
            # IPython would leave out the first frame, which it takes for its own.
            options["tb_offset"] = 0
        super().showtraceback(exc_tuple, *arguments, **options)

    def trigger(self, event: str) -> None:
        """Call the handlers that extensions registered, but not IPython's own."""
        own = [callback for callback in self.events.callbacks[event] if _is_own(callback)]
        if len(own) < len(self.events.callbacks[event]):
            arguments = (None,) if event in ("pre_run_cell", "post_run_cell") else ()
            self.events.trigger(event, *arguments)

    def format_error(self, error: BaseException) -> list[str] | None:
        """Format a traceback in the mode of `%xmode`. Returns None for the runtime's own mode."""
        if self.InteractiveTB.mode == _OWN_MODE:
            return None
        lines = self.InteractiveTB.structured_traceback(type(error), error, error.__traceback__, tb_offset=0)
        return [line for block in lines for line in str(block).splitlines()]


def build_shell(module: ModuleType) -> SandboxShell:
    """Build the shell of this process over the variables in `module`. Starts no thread, so the process may fork."""
    config = Config()
    config.HistoryManager.enabled = False
    hook = sys.excepthook
    shell: SandboxShell = SandboxShell.instance(
        config=config,
        user_module=module,
        user_ns=module.__dict__,
        colors="nocolor",
        xmode=_OWN_MODE,
        ipython_dir=os.path.expanduser("~/.ipython"),  # noqa: PTH111 - IPython wants a string
    )
    sys.excepthook = hook
    return shell


def _print_page(text: Any, *_ignored: Any, **_options: Any) -> None:
    print(text.get("text/plain", "") if isinstance(text, dict) else text)  # noqa: T201 - the cell's output


def _is_own(callback: Any) -> bool:
    return isinstance(getattr(callback, "__self__", None), InteractiveShell | DisplayPublisher)
