"""IPython's InteractiveShell for a context: no terminal, no history, no GUI, output as the runtime sends it.

Importing this imports IPython, which takes 0.3 s: `shell` does it late.
"""

from __future__ import annotations

import builtins
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from IPython.core import page
from IPython.core.displaypub import DisplayPublisher
from IPython.core.formatters import DisplayFormatter
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from sandbox_runtime.python.output.mime_bundles import library_formats, whole_bundle
from sandbox_runtime.python.shell_lines import run_shell_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

_OWN_FOLDER: Final = str(Path(__file__).parent) + os.sep
_OWN_MODE: Final = "Plain"
"""The mode of `%xmode` in which tracebacks are the runtime's own."""


class _Publisher(DisplayPublisher):
    """What is displayed goes to the runtime's own function."""

    target: Callable[..., None] | None = None

    def publish(self, data: Any, metadata: Any = None, *_ignored: Any, **options: Any) -> None:
        del metadata
        if self.target is not None:
            self.target(data, **options)

    def clear_output(self, wait: bool = False) -> None:  # noqa: FBT001, FBT002 - IPython's signature
        """Nothing: results that were sent are sent."""


class _Formatter(DisplayFormatter):
    """IPython's formatters, and what the runtime knows of well-known libraries."""

    def format(self, obj: Any, include: Any = None, exclude: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        whole = whole_bundle(obj)
        if whole:
            return whole, {}
        data, metadata = super().format(obj, include=include, exclude=exclude)
        # Nothing at all: the value has displayed itself.
        if data and include is None:
            added = library_formats(obj, data)
            data = {**data, **{mime: content for mime, content in added.items() if mime not in (exclude or ())}}
        return data, metadata


class SandboxShell(InteractiveShell):
    """The shell of one context."""

    def init_virtualenv(self) -> None:
        """Nothing: the session's packages are on the path already."""

    def init_display_pub(self) -> None:
        """Install the publisher."""
        self.publisher = _Publisher(parent=self, shell=self)
        self.display_pub = self.publisher

    def init_display_formatter(self) -> None:
        """Install the formatter."""
        self.formatter = _Formatter(parent=self)
        self.display_formatter = self.formatter

    def init_user_ns(self) -> None:
        """Leave the namespace to the user, but for what magics look up in it: values, inputs, visited folders."""
        own: dict[str, Any] = {"_oh": {}, "_ih": [""], "_dh": [os.getcwd()]}  # noqa: PTH109 - IPython keeps strings
        self.user_ns_hidden.update(own)
        self.user_ns.update(own)

    def init_hooks(self) -> None:
        """Print what would open a pager."""
        super().init_hooks()
        self.set_hook("show_in_pager", page.as_hook(_print_page), 90)

    def enable_gui(self, gui: Any = None) -> None:
        """Nothing: figures are shown at the end of a cell, whatever the backend."""

    def system(self, cmd: str) -> None:
        """Run a shell line; `_exit_code` is set in the namespace."""
        self.user_ns["_exit_code"] = run_shell_line(self.var_expand(cmd, depth=1))

    system_piped = system
    system_raw = system

    def connect(self, publish: Callable[..., None]) -> None:
        """The process that will run cells is this one."""
        self.publisher.target = publish
        self.user_ns["_dh"] = [os.getcwd()]  # noqa: PTH109 - IPython keeps strings
        builtins.get_ipython = self.get_ipython  # type: ignore[attr-defined]

    def format(self, value: Any) -> dict[str, Any]:
        """MIME type to content; empty where the value displayed itself."""
        return dict(self.formatter.format(value)[0])

    def trigger(self, event: str) -> None:
        """Call what was registered by others than IPython itself."""
        own = [callback for callback in self.events.callbacks[event] if _is_own(callback)]
        if len(own) < len(self.events.callbacks[event]):
            arguments = (None,) if event in ("pre_run_cell", "post_run_cell") else ()
            self.events.trigger(event, *arguments)

    def format_error(self, error: BaseException) -> list[str] | None:
        """The traceback in the mode that `%xmode` chose; None before it was used."""
        if self.InteractiveTB.mode == _OWN_MODE:
            return None
        frames = error.__traceback__
        while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_OWN_FOLDER):
            frames = frames.tb_next
        lines = self.InteractiveTB.structured_traceback(type(error), error, frames)
        return [line for block in lines for line in str(block).splitlines()]


def build_shell(module: ModuleType) -> SandboxShell:
    """The shell of this process, its cells' variables in `module`. Starts no thread, so that it survives a fork."""
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
