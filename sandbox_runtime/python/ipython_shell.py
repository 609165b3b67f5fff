"""IPython's InteractiveShell for a context, without terminal, history or GUI. The runtime sends its output.

Imports IPython, which takes 0.3 s, so `ipython` imports this module late.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import os
import sys
import traceback
from typing import TYPE_CHECKING, Any, Final

from IPython.core import page
from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.formatters import DisplayFormatter
from IPython.core.interactiveshell import ExecutionInfo, ExecutionResult, InteractiveShell
from traitlets.config import Config

from sandbox_runtime.python.output.fonts import one_note_for_missing_characters
from sandbox_runtime.python.output.mime_bundles import is_figure, library_formats, plotly_bundle
from sandbox_runtime.python.output.user_frames import drop_internal_frames
from sandbox_runtime.python.shell_lines import run_shell_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from sandbox_runtime.python.history import History

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


class _Hook(DisplayHook):
    """A hook that passes values to a function of the runtime. Code that runs cells by itself calls it."""

    target: Callable[[Any], None] | None = None

    def __call__(self, result: Any = None) -> None:
        if result is not None and self.target is not None and not self.quiet():
            self.fill_exec_result(result)
            self.target(result)


class _Formatter(DisplayFormatter):
    """IPython's formatters plus the runtime's formats for well-known libraries."""

    def format(self, obj: Any, include: Any = None, exclude: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        bundle = plotly_bundle(obj)
        if bundle:
            return bundle, {}
        with one_note_for_missing_characters() if is_figure(obj) else contextlib.nullcontext():
            data, metadata = super().format(obj, include=include, exclude=exclude)
        # No data means that the value has displayed itself.
        if data and include is None:
            added = library_formats(obj, data)
            data = {**data, **{mime: content for mime, content in added.items() if mime not in (exclude or ())}}
        return data, metadata


class ZMQInteractiveShell(InteractiveShell):
    """The shell of one context. Its name is that of a Jupyter kernel, by which packages know that this is a notebook.

    Attributes:
        history: The inputs and values of cells. Set before the shell is built.
        is_adapted: True after a change of the formatters, for simple values too.
    """

    history: History
    is_adapted = False

    # IPython's own counter would cost every cell a call.
    @property
    def execution_count(self) -> int:
        """Number of the running cell."""
        return self.history.number

    @execution_count.setter
    def execution_count(self, value: int) -> None:
        """Do nothing: the supervisor counts the cells."""

    def init_history(self) -> None:
        """Share the lists of inputs and values."""
        super().init_history()
        manager: Any = self.history_manager
        manager.input_hist_parsed, manager.input_hist_raw = self.history.inputs, self.history.raw_inputs
        manager.output_hist = self.history.outputs
        manager.get_tail = self.history.get_tail
        self._own_transformers = self._count_transformers()

    def init_displayhook(self) -> None:
        """Install the hook."""
        self.displayhook_class = _Hook
        super().init_displayhook()

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
        for formatter in self.formatter.formatters.values():
            _watch(formatter, self._note_change)

    def _note_change(self, _change: Any = None) -> None:
        self.is_adapted = True

    def init_user_ns(self) -> None:
        """Leave the namespace to the user, except for the names that magics need: values, inputs, visited folders."""
        self.history.restore()
        own: dict[str, Any] = {**self.history.names(), "_dh": [os.getcwd()]}  # noqa: PTH109 - IPython keeps strings
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

    def run_line_magic(self, magic_name: str, line: str, _stack_depth: int = 1) -> Any:
        """Run a line magic. `%config InlineBackend` works without `%matplotlib inline`."""
        if magic_name == "config" and line.lstrip().startswith("InlineBackend"):
            from matplotlib_inline.config import InlineBackend  # noqa: PLC0415 - imports matplotlib

            backend: Any = InlineBackend.instance(parent=self)
            backend.shell = self
            if backend not in self.configurables:
                self.configurables.append(backend)
        return super().run_line_magic(magic_name, line, _stack_depth + 1)

    def run_cell(self, *arguments: Any, **options: Any) -> ExecutionResult:
        """Run a cell inside a cell, as `%%capture` does, and show its figures."""
        result: ExecutionResult = super().run_cell(*arguments, **options)
        self._show_figures()
        return result

    def connect(
        self, publish: Callable[..., None], show: Callable[[Any], None], show_figures: Callable[[], None]
    ) -> None:
        """Connect the shell to this process, which will run cells."""
        self.publisher.target = publish
        self._show_figures = show_figures
        hook: Any = self.displayhook
        hook.target = show
        # Cells that run inside a cell, as in `%%capture`, keep the hook that they find.
        self.display_trap.__enter__()
        # `%xdel` looks into it.
        self.last_execution_result = ExecutionResult(None)
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

    @property
    def adapts_cells(self) -> bool:
        """True if options or the user's transformers change what cells do or show."""
        is_default = self.ast_node_interactivity == "last_expr" and not self.ast_transformers
        return not is_default or self.transforms_sources

    @property
    def transforms_sources(self) -> bool:
        """True if user code has added transformers of input."""
        return self._count_transformers() != self._own_transformers

    def _count_transformers(self) -> int:
        manager = self.input_transformer_manager
        return len(manager.cleanup_transforms) + len(manager.line_transforms) + len(manager.token_transformers)

    def begin_cell(self, source: str) -> None:
        """Call the handlers for the beginning of a cell."""
        self._trigger("pre_execute")
        self._trigger("pre_run_cell", lambda: self._describe(source))

    def end_cell(self, value: Any, error: BaseException | None) -> None:
        """Call the handlers for the end of a cell, and the user's handler of its exception."""
        if self.custom_exceptions and isinstance(error, self.custom_exceptions):
            self.CustomTB(type(error), error, error.__traceback__)
        self._trigger("post_execute")
        self._trigger("post_run_cell", lambda: self._describe_result(value, error))

    def _describe(self, source: str) -> ExecutionInfo:
        return ExecutionInfo(source, store_history=True, silent=False, shell_futures=True, cell_id=None)

    def _describe_result(self, value: Any, error: BaseException | None) -> ExecutionResult:
        described = ExecutionResult(self._describe(self.history.raw_inputs[-1]))
        described.execution_count, described.result, described.error_in_exec = self.history.number, value, error
        self.last_execution_result = described
        return described

    def _trigger(self, event: str, describe: Callable[[], object] | None = None) -> None:
        # Not IPython's own handlers.
        callbacks = self.events.callbacks[event]
        if callbacks and not all(map(_is_own, callbacks)):
            self.events.trigger(event, *([] if describe is None else [describe()]))

    def format_error(self, error: BaseException) -> list[str] | None:
        """Format a traceback in the mode of `%xmode`. Returns None for the runtime's own mode."""
        if self.InteractiveTB.mode == _OWN_MODE:
            return None
        lines = self.InteractiveTB.structured_traceback(type(error), error, error.__traceback__, tb_offset=0)
        return [line for block in lines for line in str(block).splitlines()]


def build_shell(module: ModuleType, history: History) -> ZMQInteractiveShell:
    """Build the shell of this process over the variables in `module`. Starts no thread, so the process may fork."""
    ZMQInteractiveShell.history = history
    config = Config()
    config.HistoryManager.enabled = False
    hook = sys.excepthook
    with history.kept():
        shell: ZMQInteractiveShell = ZMQInteractiveShell.instance(
            config=config,
            user_module=module,
            user_ns=module.__dict__,
            colors="nocolor",
            xmode=_OWN_MODE,
            ipython_dir=os.path.expanduser("~/.ipython"),  # noqa: PTH111 - IPython wants a string
        )
    sys.excepthook = hook
    extensions: Any = shell.extension_manager
    extensions.load_extension("storemagic")
    return shell


def _print_page(text: Any, *_ignored: Any, **_options: Any) -> None:
    shown = str(text.get("text/plain", "") if isinstance(text, dict) else text)
    print(shown.removesuffix("\n"))  # noqa: T201 - the cell's output


def _watch(formatter: Any, report: Callable[..., None]) -> None:
    """Report each change of how a formatter of IPython treats simple values."""
    for name in ("for_type", "for_type_by_name"):
        setattr(formatter, name, _reporting(getattr(formatter, name), report))
    if formatter.has_trait("float_precision"):
        formatter.observe(report, ["float_precision", "max_width", "max_seq_length", "type_printers"])


def _reporting(function: Callable[..., Any], report: Callable[..., None]) -> Callable[..., Any]:
    @functools.wraps(function)
    def change(typ: Any, *arguments: Any, **options: Any) -> Any:
        if getattr(typ, "__module__", typ).startswith("builtins"):
            report()
        return function(typ, *arguments, **options)

    return change


def _is_own(callback: Any) -> bool:
    return isinstance(getattr(callback, "__self__", None), InteractiveShell | DisplayPublisher)
