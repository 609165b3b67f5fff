"""The main loop of a Python context: receives frames from the supervisor, runs cells and sends frames.

The entry point is `run_interpreter`.
"""

from __future__ import annotations

import builtins
import contextlib
import importlib
import json
import os
import signal
import site
import socket
import sys
from collections import deque
from functools import partial
from os import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sandbox_link.frames import Frame, FrameDecoder, FrameType, Stream
from sandbox_runtime.linux import seccomp
from sandbox_runtime.python.cells import MISSING, SHOW, Namespace, find_sources_of_classes
from sandbox_runtime.python.import_hooks import after_import
from sandbox_runtime.python.ipython import Shell
from sandbox_runtime.python.output.display import Displays
from sandbox_runtime.python.output.frame_sender import FrameSender
from sandbox_runtime.python.output.origins import Origins
from sandbox_runtime.python.output.stdio import Streams
from sandbox_runtime.python.output.tracebacks import describe_error, record_last_error
from sandbox_runtime.python.signals import Signals
from sandbox_runtime.python.stdin import install_stdin
from sandbox_runtime.python.workers import share_definitions

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping
    from typing import NoReturn

_RECEIVE: Final = 1 << 18
_MAX_FAILURES: Final = 100
_MAX_TRIES: Final = 10
# Encoded once: every cell ends with one of them.
_CLOSE: Final = {
    status: json.dumps({"ok": {"status": status, "exit_code": 0}}).encode() for status in ("OK", "ERROR", "INTERRUPTED")
}


_prepared: list[Interpreter] = []


def prepare() -> None:
    """Build the interpreter that forked children will use, complete except for its socket."""
    interpreter = Interpreter()
    interpreter.prebuild()
    _prepared[:] = [interpreter]


def run_interpreter(control_fd: int) -> NoReturn:
    """Serve the control socket until the supervisor closes it, then exit the process."""
    control = socket.socket(fileno=control_fd)
    os.register_at_fork(after_in_child=control.close)
    interpreter = _prepared.pop() if _prepared else Interpreter()
    try:
        interpreter.serve(control)
    finally:
        # sys.exit would run atexit handlers of user code, without a time limit.
        os._exit(0)


class InitializationError(Exception):
    """The process could not be prepared. It must run no cell: the environment or the network filter may be missing."""


class Interpreter:
    """The process of one context."""

    def __init__(self) -> None:
        self._decoder = FrameDecoder()
        self._sender = FrameSender()
        self._streams = Streams(self._sender)
        self._signals = Signals(self._report)
        self._shell = Shell()
        self._displays = Displays(self._sender, self._streams, self._shell)
        self._namespace = Namespace(self._shell)
        self._origins = Origins(self._namespace.has_tasks)
        self._venv_site: str = ""
        self._venv_changed = 0
        self._pth_files: frozenset[str] = frozenset()
        self._cell: tuple[int, dict[str, Any]] | None = None
        self._code = bytearray()
        self._data: deque[bytes] = deque()

    def prebuild(self) -> None:
        """Do as much as possible before the fork, without changing this process."""
        self._shell.prebuild()
        self._rehearse()

    def serve(self, control: socket.socket) -> None:
        """Handle frames until the supervisor closes the socket."""
        self._sender.connect(control)
        self._signals.install()
        install_stdin()
        self._streams.install(self._signals.retry)
        self._shell.attach(self._displays.publish, self._displays.show_hooked, self._displays.show_figures)
        self._displays.install()
        setattr(builtins, SHOW, self._displays.show_statement)
        after_import("inspect", find_sources_of_classes)
        share_definitions(self._shell.module)
        self._rehearse()
        failures = 0
        # User code may replace the method.
        receive = control.recv
        while failures < _MAX_FAILURES:
            # User code may raise in this thread from another one (PyThreadState_SetAsyncExc), at any line.
            try:
                if not self._data:
                    self._signals.run_pending()
                    self._namespace.run_tasks_until(control)
                    # No Python code runs between the system call and the record of its result.
                    self._data.extend(map(receive, (_RECEIVE,)))
                data = self._data.popleft()
                if not data:
                    return
                for frame in self._decoder.feed(data):
                    self._handle_guarded(frame)
                failures = 0
            except InitializationError:
                raise
            except BaseException as error:  # noqa: BLE001 - as above
                failures += 1
                self._report(f"An exception was raised in this thread while no cell ran: {error!r}\n")

    def _handle_guarded(self, frame: Frame) -> None:
        try:
            self._handle(frame)
        except BaseException as error:
            if frame.channel == 0:
                raise InitializationError from error
            # The client waits for the end of its cell.
            self._sender.begin(frame.channel)
            self._finish("ERROR", error)

    def _report(self, text: str) -> None:
        """Show a text with the next cell."""
        with contextlib.suppress(Exception):
            self._sender.output(Stream.STDERR, text.encode(errors="backslashreplace"))

    def _rehearse(self) -> None:
        """Run a trivial cell. It copies the memory shared with the zygote now, not while a client waits."""
        if self._shell.ipython is not None:
            self._namespace.run("__import__('json');", 0)
            self._displays.bundle(MISSING)

    def _handle(self, frame: Frame) -> None:
        if frame.type is FrameType.OPEN:
            arguments = frame.json()
            if arguments["op"] == "init":
                self._initialize(arguments)
                return
            self._cell = (frame.channel, arguments)
            self._code.clear()
        elif frame.type is FrameType.DATA and self._cell is not None:
            self._code += memoryview(frame.body)[1:]
        if self._cell is not None and len(self._code) >= self._cell[1]["code_bytes"]:
            (channel, arguments), self._cell = self._cell, None
            content, self._code = self._code, bytearray()
            self._execute(channel, arguments, self._select_work(arguments, content))

    def _select_work(self, arguments: dict[str, Any], content: bytearray) -> Callable[[], None]:
        """Return the function that an OPEN requests. It runs as a cell does."""
        if arguments["op"] == "execute":
            number = int(arguments.get("execution_count", 0))
            return partial(self._run, content.decode(errors="replace"), number)
        return partial(self._transfer_variables, arguments, content)

    def _initialize(self, arguments: dict[str, Any]) -> None:
        _replace_environment(os.environ, arguments["env"])
        with contextlib.suppress(OSError):
            os.chdir(arguments["cwd"])
        self._use_venv(arguments.get("site_packages", ""), arguments.get("python", ""))
        # Fails closed: if the filter cannot be installed, the process ends.
        seccomp.restrict(seccomp.Sockets(arguments["sockets"]))
        self._sender.control_event({"type": "ready"})

    def _use_venv(self, site_packages: str, python: str) -> None:
        self._venv_site = site_packages
        if site_packages:
            known = list(sys.path)
            site.addsitedir(site_packages)
            # Comes before the image's packages, so that a version installed in the session wins.
            sys.path[:] = ["", *(path for path in sys.path if path not in known), *(path for path in known if path)]
            self._venv_changed = _changed_at(site_packages)
            self._pth_files = _pth_files(site_packages)
        if python:
            sys.executable = python
            sys.prefix = sys.exec_prefix = str(Path(python).parents[1])
        sys.argv = [""]

    def _read_new_pth_files(self) -> None:
        """Add what `pip install --editable` added, as a Python that starts would do."""
        known, self._pth_files = self._pth_files, _pth_files(self._venv_site)
        for name in sorted(self._pth_files - known):
            site.addpackage(self._venv_site, name, None)

    def _execute(self, channel: int, arguments: dict[str, Any], work: Callable[[], None]) -> None:
        self._streams.restore()
        if self._venv_site and (changed := _changed_at(self._venv_site)) != self._venv_changed:
            self._venv_changed = changed
            importlib.invalidate_caches()
            self._read_new_pth_files()
        self._signals.install()
        self._signals.expect(after_interrupt=bool(arguments.get("after_interrupt")))
        self._streams.collect_late()
        number = int(arguments.get("execution_count", 0)) if arguments["op"] == "execute" else 0
        self._sender.begin(channel, number)
        if number:
            self._streams.watch(self._origins.late_cell if self._origins.begin(number) else None)
        self._streams.resume()
        status, error = self._run_guarded(work)
        self._finish(status, error)

    def _finish(self, status: str, error: BaseException | None) -> None:
        streams, sender = self._streams, self._sender
        for step in (streams.pause, streams.flush_c, sender.hold, streams.flush, partial(self._describe, error)):
            _insist(step)
        _insist(partial(sender.end, _CLOSE[status]))
        _insist(self._watch_rest)

    def _watch_rest(self) -> None:
        """Mark what threads and tasks of this cell print from now on."""
        self._streams.watch(self._origins.late_cell if self._origins.end() else None)

    def _describe(self, error: BaseException | None) -> None:
        if error is not None:
            self._sender.queue_event(describe_error(error, self._shell.format_error))

    def _run_guarded(self, work: Callable[[], None]) -> tuple[str, BaseException | None]:
        try:
            try:
                self._signals.arm()
                work()
            finally:
                self._signals.disarm()
        except SystemExit as error:
            self._signals.disarm()
            return ("OK", None) if error.code in (None, 0) else ("ERROR", error)
        except KeyboardInterrupt as error:
            self._signals.disarm()
            return "INTERRUPTED", error
        except BaseException as error:  # noqa: BLE001 - whatever user code raises is a result
            self._signals.disarm()
            record_last_error(error)
            return "ERROR", error
        return "OK", None

    def _transfer_variables(self, arguments: dict[str, Any], content: bytearray) -> None:
        from sandbox_runtime.python import pickling  # noqa: PLC0415 - few contexts need its memory

        send = partial(self._sender.output, Stream.BODY)
        if arguments["op"] == "variables.save":
            pickling.save_variables(self._shell.module, int(arguments["limit"]), send)
        else:
            pickling.load_variables(self._shell.module, content, send)

    def _run(self, code: str, number: int) -> None:
        value, failure = None, None
        sys.displayhook = own_hook = self._shell.hook
        self._shell.begin_cell(code)
        try:
            value = self._namespace.run(code, number)
            if value is not MISSING:
                hook = sys.displayhook
                if hook is own_hook or not callable(hook):
                    self._displays.show_value(value)
                    self._shell.history.record(value)
                else:
                    hook(value)
        except BaseException as error:
            failure = error
            raise
        finally:
            self._displays.show_figures()
            self._shell.end_cell(None if value is MISSING else value, failure)
            self._streams.flush_replaced()


def _insist(step: Callable[[], None]) -> None:
    """Do a step that may be repeated, although other threads of user code may raise exceptions in this one."""
    for _ in range(_MAX_TRIES):
        try:
            step()
        except OSError:
            # The supervisor has gone.
            return
        except BaseException:  # noqa: BLE001, S112 - as above
            continue
        return


def _replace_environment(environment: MutableMapping[str, str], wanted: dict[str, str]) -> None:
    """Make an environment equal to another. Writes only differences: unwritten memory stays shared with the zygote."""
    for name in [name for name in environment if name not in wanted]:
        del environment[name]
    for name, value in wanted.items():
        if environment.get(name) != value:
            environment[name] = value


def _pth_files(folder: str) -> frozenset[str]:
    try:
        return frozenset(name for name in os.listdir(folder) if name.endswith(".pth"))  # noqa: PTH208 - cheaper
    except OSError:
        return frozenset()


def _changed_at(path: str) -> int:
    try:
        return stat(path).st_mtime_ns  # noqa: PTH116 - runs before every cell, and a Path costs 20 times as much
    except OSError:
        return 0


def reset_signals() -> None:
    """Undo the zygote's signal handlers in a forked child."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
