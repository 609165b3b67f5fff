"""A context's variables as bytes, and back: each pickled by itself, so that one which cannot be takes no other with it.

Runs in the interpreter and nowhere else: pickling and unpickling run whatever code the objects bring along. Imported
only when it is needed, and so is cloudpickle. What it sends are records (`runtime.records`):

    {"names": [...]}                what there is
    {"name": ...} and a pickle      saved
    {"name": ..., "kept": true}     restored
    {"name": ..., "lost": why}      neither
    {"name": CELLS} and JSON        the sources of the last cells, so that tracebacks show them
"""

from __future__ import annotations

import builtins
import contextlib
import io
import json
import linecache
import pickle
import signal
import sys
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final

from sandbox_runtime.saved_variables.record_format import CELLS, encode_record, read_records

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Send = Callable[[bytes | memoryview], None]

SAVE_SECONDS: Final = 3.0
"""For one variable."""
LOAD_SECONDS: Final = 20.0
"""For one variable, the import of its library included."""
MAX_NAMES: Final = 10_000
LONGEST_NAME: Final = 256
_LONGEST_REASON: Final = 200
_MAX_SOURCES: Final = 1 << 20
"""Characters of all cells that are kept."""
_NO_TIME: Final = "there was no time left"
_MISSING: Final = "cloudpickle is not installed: pip install cloudpickle, or use an image that has it"
_OWN: Final = frozenset({"_", "_oh", "_ih", "_dh", "_exit_code"})


class _LateError(BaseException):
    """A variable took too long. Not an Exception, so that user code seldom catches it."""


class _TooLargeError(Exception):
    """A pickle is longer than what is left of the limit."""


def save_variables(main: ModuleType, limit: int, send: Send) -> None:
    """Send what of `main` can be pickled.

    Args:
        main: The context's `__main__`.
        limit: Bytes of all pickles together.
        send: Takes pieces of records.
    """
    variables = [(name, value) for name, value in list(main.__dict__.items()) if _is_users(name)][:MAX_NAMES]
    if not variables:
        return
    _send(send, {"names": [name for name, _ in variables]})
    _send(send, {"name": CELLS}, json.dumps(_sources()).encode())
    pickler = _build_pickler(main)
    left = limit

    def save(name: str, value: Any) -> None:
        nonlocal left
        if pickler is None:
            _send(send, {"name": name, "lost": _MISSING})
            return
        content = _Bounded(left)
        with _time_limit(SAVE_SECONDS):
            pickler(content).dump(value)
        left -= len(content.data)
        _send(send, {"name": name}, content.data)

    _each(variables, save, send)


def load_variables(main: ModuleType, records: bytes | bytearray, send: Send) -> None:
    """Bring variables back into `main`, and tell which.

    Args:
        main: The context's `__main__`.
        records: `{"name": ...}` with a pickle each.
        send: Takes pieces of records.
    """

    def load(name: str, content: memoryview) -> None:
        with _time_limit(LOAD_SECONDS):
            main.__dict__[name] = pickle.loads(content)  # noqa: S301 - the session's own, in its own sandbox
        _send(send, {"name": name, "kept": True})

    contents = {str(header["name"]): content for header, content in read_records(records)}
    _remember_sources(contents.pop(CELLS, b"{}"))
    try:
        _each(contents.items(), load, send)
    finally:
        # cloudpickle puts another one there with every function.
        main.__dict__["__builtins__"] = builtins


def _each(items: Iterable[tuple[str, Any]], work: Callable[[str, Any], None], send: Send) -> None:
    """Work on each; what fails is told, and what an interrupt leaves undone as well."""
    waiting = dict(items)
    try:
        for name, value in list(waiting.items()):
            try:
                work(name, value)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # noqa: BLE001 - objects raise what they like
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
            return f"{type(error).__name__}: {error}"[:_LONGEST_REASON]
    except BaseException:  # noqa: BLE001 - so may their exceptions
        return "an exception that cannot be shown"


def _is_users(name: str) -> bool:
    return not name.startswith("__") and name not in _OWN and name != CELLS and len(name) <= LONGEST_NAME


def _sources() -> dict[str, str]:
    """Sources of the last cells by the names that their code has."""
    found: dict[str, str] = {}
    left = _MAX_SOURCES
    for name, entry in reversed(linecache.cache.items()):
        if name.startswith("<cell ") and len(entry) == 4:  # noqa: PLR2004 - size, time, lines, name; or not read yet
            source = "".join(entry[2])
            left -= len(source)
            if left < 0:
                break
            found[name] = source
    return found


def _remember_sources(data: bytes | memoryview) -> None:
    # What is no such thing costs a traceback its lines, and nothing else.
    with contextlib.suppress(ValueError, AttributeError, TypeError):
        for name, source in json.loads(bytes(data)).items():
            linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)


def _send(send: Send, header: dict[str, Any], content: bytes | bytearray = b"") -> None:
    # In one call, which no interrupt leaves half done.
    send(b"".join(encode_record(header, content)))


@contextlib.contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raises _LateError in the body, again and again until it ends. What never returns to Python is not reached."""

    def on_alarm(_number: int, _frame: Any) -> None:
        raise _LateError

    before = signal.signal(signal.SIGALRM, on_alarm)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds, 0.2)
        yield
    finally:
        is_over = False
        while not is_over:
            # The alarm may ring here, too.
            with contextlib.suppress(_LateError):
                signal.setitimer(signal.ITIMER_REAL, 0)
                signal.signal(signal.SIGALRM, before or signal.SIG_DFL)
                is_over = True


class _Bounded:
    """Where a pickle goes, up to a limit: what is too large is given up before it fills the memory."""

    def __init__(self, limit: int) -> None:
        self.data = bytearray()
        self._limit = limit

    def write(self, data: Any) -> int:
        """Take a piece."""
        size = memoryview(data).nbytes
        if len(self.data) + size > self._limit:
            raise _TooLargeError
        self.data += data
        return size


class _Globals:
    """Stands for the globals of a function that a cell defined: after a wake they are the context's variables again."""

    def __reduce__(self) -> tuple[Callable[[], dict[str, Any]], tuple[()]]:
        return live_globals, ()


def live_globals() -> dict[str, Any]:
    """The variables of this context. Pickles of functions refer to it by its name."""
    return sys.modules["__main__"].__dict__


def _build_pickler(main: ModuleType) -> Callable[[_Bounded], pickle.Pickler] | None:
    """What pickles a variable; None where cloudpickle is missing."""
    try:
        import cloudpickle  # type: ignore[import-untyped]  # noqa: PLC0415 - most contexts never need its memory
    except ImportError:
        return None
    stand_in = _Globals()

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        """Functions keep no copy of the variables that they use: those are saved under their own names."""

        def reducer_override(self, value: Any) -> Any:
            if isinstance(value, io.IOBase):
                # cloudpickle would make a text in memory of it.
                raise pickle.PicklingError("an open file")
            reduced = super().reducer_override(value)
            if isinstance(value, FunctionType) and value.__globals__ is main.__dict__:
                return _share_globals(reduced, stand_in)
            return reduced

    return lambda content: Pickler(content, protocol=pickle.HIGHEST_PROTOCOL)


def _share_globals(reduced: Any, stand_in: _Globals) -> Any:
    """How a function is made again, with the context's variables as its globals instead of a copy.

    The layout is cloudpickle's: (make, (code, globals, ...), (attributes, {"__globals__": copy, ...}), ...). One that
    is laid out in another way stays as it is.
    """
    try:
        make, (code, _globals, *others), (attributes, slots), *rest = reduced
        slots = {**slots, "__globals__": {}} if "__globals__" in slots else None
    except (TypeError, ValueError):
        return reduced
    if slots is None:
        return reduced
    return (make, (code, stand_in, *others), (attributes, slots), *rest)
