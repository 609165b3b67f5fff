"""Pickles a context's variables and restores them. Each is pickled alone, so a failure costs only that variable.

Runs only in the interpreter, because pickling and unpickling run code of the objects. This module and cloudpickle are
imported only when needed. It sends records (`variable_records`):

    {"names": [...]}                all variables
    {"name": ...} and a pickle      saved
    {"name": ..., "kept": true}     restored
    {"name": ..., "lost": why}      neither
    {"name": CELLS} and JSON        the sources of the last cells, so that tracebacks show them
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import io
import json
import linecache
import pickle
import signal
import sys
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final

from sandbox_runtime.python.history import is_own_variable
from sandbox_runtime.python.variable_records import CELLS, encode_record, read_records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Send = Callable[[bytes | memoryview], None]

SAVE_SECONDS: Final = 3.0
"""Time limit for one variable."""
LOAD_SECONDS: Final = 20.0
"""Time limit for one variable, including the import of its library."""
MAX_NAMES: Final = 10_000
MAX_NAME: Final = 256
_MAX_REASON: Final = 200
_MAX_SOURCES: Final = 1 << 20
"""Characters of all sources that are saved."""
_CACHE: Final = type(functools.lru_cache(len))
_NO_TIME: Final = "there was no time left"
MISSING_PICKLER: Final = "cloudpickle is not installed: pip install cloudpickle, or use an image that has it"


class _LateError(BaseException):
    """A variable took too long. Not an Exception, so that user code rarely catches it."""


class _TooLargeError(Exception):
    """A pickle exceeds the remaining limit."""


def save_variables(main: ModuleType, limit: int, send: Send) -> None:
    """Pickle and send every variable of `main` that can be pickled.

    Args:
        main: The context's `__main__`.
        limit: Largest size of all pickles together, in bytes.
        send: Called with pieces of records.
    """
    variables = [item for item in list(main.__dict__.items()) if _is_user_variable(main, item[0])][:MAX_NAMES]
    if not variables:
        return
    _send(send, {"names": [name for name, _ in variables]})
    _send(send, {"name": CELLS}, json.dumps(_sources()).encode())
    pickler = build_pickler(main)
    left = limit

    def save(name: str, value: Any) -> None:
        nonlocal left
        if pickler is None:
            _send(send, {"name": name, "lost": MISSING_PICKLER})
            return
        content = _Bounded(left)
        with _time_limit(SAVE_SECONDS):
            pickler(content).dump(value)
        left -= len(content.data)
        _send(send, {"name": name}, content.data)

    _each(variables, save, send)


def load_variables(main: ModuleType, records: bytes | bytearray, send: Send) -> None:
    """Restore variables into `main` and send the outcome of each.

    Args:
        main: The context's `__main__`.
        records: Records of `{"name": ...}` with a pickle each.
        send: Called with pieces of records.
    """

    def load(name: str, content: memoryview) -> None:
        with _time_limit(LOAD_SECONDS):
            main.__dict__[name] = load_pickle(content)
        _send(send, {"name": name, "kept": True})

    contents = {str(header["name"]): content for header, content in read_records(records)}
    _remember_sources(contents.pop(CELLS, b"{}"))
    try:
        _each(contents.items(), load, send)
    finally:
        # cloudpickle replaces it with every function.
        main.__dict__["__builtins__"] = builtins


def _each(items: Iterable[tuple[str, Any]], work: Callable[[str, Any], None], send: Send) -> None:
    """Call `work` for each item. Sends a record for each that fails or that an interrupt leaves undone."""
    waiting = dict(items)
    try:
        for name, value in list(waiting.items()):
            try:
                work(name, value)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001 - objects of users raise anything
                _send(send, {"name": name, "lost": _describe(error)})
            del waiting[name]
    except KeyboardInterrupt:
        for name in waiting:
            _send(send, {"name": name, "lost": _NO_TIME})


def _describe(error: BaseException) -> str:
    if isinstance(error, _LateError):
        return "it took too long"
    if isinstance(error, _TooLargeError):
        return "it is larger than what was left of the limit"
    try:
        with _time_limit(1.0):
            return f"{type(error).__name__}: {error}"[:_MAX_REASON]
    except BaseException:  # noqa: BLE001 - and so do their exceptions
        return "an exception that cannot be shown"


def _is_user_variable(main: ModuleType, name: str) -> bool:
    is_own = name.startswith("__") or name == CELLS or is_own_variable(main.__dict__, name)
    return not is_own and len(name) <= MAX_NAME


def _sources() -> dict[str, str]:
    """Return the sources of the last cells by the file names of their code."""
    found: dict[str, str] = {}
    left = _MAX_SOURCES
    for name, entry in reversed(linecache.cache.items()):
        if name.startswith("<cell ") and len(entry) == 4:  # noqa: PLR2004 - size, time, lines, name; a lazy entry is shorter
            source = "".join(entry[2])
            left -= len(source)
            if left < 0:
                break
            found[name] = source
    return found


def _remember_sources(data: bytes | memoryview) -> None:
    # Bad data only costs a traceback its source lines.
    with contextlib.suppress(ValueError, AttributeError, TypeError):
        for name, source in json.loads(bytes(data)).items():
            linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)


def _send(send: Send, header: dict[str, Any], content: bytes | bytearray = b"") -> None:
    # One call, so that no interrupt cuts a record short.
    send(b"".join(encode_record(header, content)))


@contextlib.contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise _LateError in the body repeatedly until it ends. Cannot stop code that never returns to Python."""

    def on_alarm(_number: int, _frame: Any) -> None:
        raise _LateError

    before = signal.signal(signal.SIGALRM, on_alarm)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds, 0.2)
        yield
    finally:
        is_over = False
        while not is_over:
            # The alarm may ring here too.
            with contextlib.suppress(_LateError):
                signal.setitimer(signal.ITIMER_REAL, 0)
                signal.signal(signal.SIGALRM, before or signal.SIG_DFL)
                is_over = True


class _Bounded:
    """A target of a pickle with a limit, so that pickling a large object stops before it fills the memory."""

    def __init__(self, limit: int) -> None:
        self.data = bytearray()
        self._limit = limit

    def write(self, data: Any) -> int:
        """Append a piece."""
        size = memoryview(data).nbytes
        if len(self.data) + size > self._limit:
            raise _TooLargeError
        self.data += data
        return size


class _Globals:
    """A stand-in for the globals of a function defined in a cell. Unpickled, it is the context's variables again."""

    def __reduce__(self) -> tuple[Callable[[], dict[str, Any]], tuple[()]]:
        return live_globals, ()


class _Unpickler(pickle.Unpickler):
    """An unpickler that also reads old pickles, which name the module that `live_globals` was in earlier."""

    def find_class(self, module: str, name: str) -> Any:
        former = (module, name) == ("sandbox_agent.runtime.python.variables", "live_globals")
        return live_globals if former else super().find_class(module, name)


def live_globals() -> dict[str, Any]:
    """Return the variables of this context. Stored pickles refer to this function by name: it must not move."""
    return sys.modules["__main__"].__dict__


def load_pickle(content: bytes | memoryview) -> Any:
    """Return the value of a pickle that a pickler of `build_pickler` wrote.

    Raises:
        Exception: Code of the value raised it.
    """
    return _Unpickler(io.BytesIO(content)).load()


def restore_cache(parameters: dict[str, Any], function: Any) -> Any:
    """Return a function with a new `functools.lru_cache`. Stored pickles refer to this function: it must not move."""
    return functools.lru_cache(**parameters)(function)


def build_pickler(
    main: ModuleType, on_function: Callable[[FunctionType], object] = lambda _: None
) -> Callable[[Any], pickle.Pickler] | None:
    """Return a function that makes a pickler for a file, or None if cloudpickle is missing.

    Args:
        main: The context's `__main__`.
        on_function: Called with each function of `main` that is pickled. It needs the variables that its code names.
    """
    try:
        import cloudpickle  # type: ignore[import-untyped]  # noqa: PLC0415 - most contexts never need its memory
    except ImportError:
        return None
    stand_in = _Globals()

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        """A pickler that saves functions without a copy of the variables they use: those are saved by name."""

        def reducer_override(self, value: Any) -> Any:
            if isinstance(value, io.IOBase):
                # cloudpickle would turn it into an in-memory file.
                raise pickle.PicklingError("an open file")
            if isinstance(value, _CACHE) and getattr(value, "__module__", "") == "__main__":
                # It would be pickled as a name, which is missing where the pickle is read.
                return restore_cache, (value.cache_parameters(), value.__wrapped__)
            reduced = super().reducer_override(value)
            if isinstance(value, FunctionType) and value.__globals__ is main.__dict__:
                on_function(value)
                return _share_globals(reduced, stand_in)
            return reduced

    return lambda content: Pickler(content, protocol=pickle.HIGHEST_PROTOCOL)


def _share_globals(reduced: Any, stand_in: _Globals) -> Any:
    """Replace the copied globals in a reduced function by the context's variables.

    cloudpickle's layout is (make, (code, globals, ...), (attributes, {"__globals__": copy, ...}), ...). Any other value
    is returned unchanged.
    """
    try:
        make, (code, _globals, *others), (attributes, slots), *rest = reduced
        slots = {**slots, "__globals__": {}} if "__globals__" in slots else None
    except (TypeError, ValueError):
        return reduced
    if slots is None:
        return reduced
    return (make, (code, stand_in, *others), (attributes, slots), *rest)
