"""Functions and classes of cells in worker processes: multiprocessing's `spawn` and `forkserver`, and older forks.

A new Python has an empty `__main__`: a context has no file that a worker could load. So the definitions of the cells,
and the variables that they use, are sent along when a worker starts. Pickles then find them by name, as with a script.

A name that a worker cannot have is replaced by a stand-in, which tells why when it is used. Without it, a worker would
end while it reads its task, and a pool would start workers without end.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import io
import os
import sys
from types import FrameType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final, cast

from sandbox_runtime.python.import_hooks import after_import

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import NoReturn

MAX_BYTES: Final = 256 << 20
"""Largest size of what one worker gets."""
_MAX_REASON: Final = 200
_RECEIVE: Final = """
import sys
sys.path = path
from sandbox_runtime.python.workers import receive
receive(contents, lost)
"""
_ADVICE: Final = (
    'move it into a module (a .py file), or use multiprocessing.get_context("fork"), whose workers have everything'
)
_READERS: Final = ("connection.py", "queues.py", "spawn.py")
"""Modules of multiprocessing that unpickle what a worker gets."""
_OPERATIONS: Final = ("iter", "len", "getitem", "setitem", "contains", "enter", "exit", "add", "sub", "mul", "matmul")


def share_definitions(main: ModuleType) -> None:
    """Let worker processes find what cells have defined.

    Args:
        main: The context's `__main__`.
    """
    after_import("multiprocessing.spawn", lambda spawn: _send_with_start(spawn, main))
    os.register_at_fork(after_in_child=lambda: _explain_missing_names(main, {}))


def receive(contents: dict[str, bytes], lost: dict[str, str]) -> None:
    """Restore in a new worker what `share_definitions` sent.

    Args:
        contents: Pickles of the variables by name.
        lost: Why others could not be sent.
    """
    from sandbox_runtime.python.pickling import load_pickle  # noqa: PLC0415 - few processes need its memory

    # What a worker has printed must not be lost if it is killed.
    with contextlib.suppress(Exception):
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    main = sys.modules["__main__"]
    sys.modules["__mp_main__"] = main
    reasons = {name: f"it could not be sent to this worker ({reason})" for name, reason in lost.items()}
    for name, content in contents.items():
        try:
            main.__dict__[name] = load_pickle(content)
        except Exception as error:  # noqa: BLE001 - objects of users raise anything
            reasons[name] = f"it could not be restored in this worker ({_describe(error)})"
    main.__dict__.update({name: _stand_in(name, f"{reason}: {_ADVICE}") for name, reason in reasons.items()})
    # cloudpickle replaces it with every function.
    main.__dict__["__builtins__"] = builtins
    _explain_missing_names(main, reasons)
    share_definitions(main)


class _Definitions:
    """The definitions of `main`, which restore themselves when a worker unpickles them.

    That happens before the worker has its path and before it could import this module, hence the source.
    """

    def __init__(self, main: ModuleType, path: list[str]) -> None:
        contents, lost = pickle_definitions(main)
        self._values = {"path": path, "contents": contents, "lost": lost}

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (_RECEIVE, self._values)


def _send_with_start(spawn: Any, main: ModuleType) -> None:
    prepare = spawn.get_preparation_data

    @functools.wraps(prepare)
    def get_preparation_data(name: str) -> dict[str, Any]:
        data: dict[str, Any] = prepare(name)
        if sys.modules.get("__main__") is main:
            # multiprocessing would put the folder of the zygote in the place of the current one.
            data["sys_path"] = [path or os.getcwd() for path in sys.path]  # noqa: PTH109 - a str is wanted
            data["definitions"] = _Definitions(main, data["sys_path"])
        return data

    spawn.get_preparation_data = get_preparation_data


def pickle_definitions(main: ModuleType) -> tuple[dict[str, bytes], dict[str, str]]:
    """Pickle the functions and classes of `main`, and the variables and modules that they use.

    Returns:
        Pickles by name, and for each name that cannot be sent the reason.
    """
    from sandbox_runtime.python.pickling import MISSING_PICKLER, build_pickler  # noqa: PLC0415 - as above

    contents: dict[str, bytes] = {}
    lost: dict[str, str] = {}
    waiting = [name for name, value in list(main.__dict__.items()) if _is_definition(name, value)]
    pickler = build_pickler(main, lambda function: waiting.extend(_names(function.__code__)))
    if pickler is None:
        return {}, dict.fromkeys(waiting, MISSING_PICKLER)
    left = MAX_BYTES
    while waiting:
        name = waiting.pop()
        if name in contents or name in lost or name not in main.__dict__ or name.startswith("__"):
            continue
        target = io.BytesIO()
        try:
            pickler(target).dump(main.__dict__[name])
        except Exception as error:  # noqa: BLE001 - objects of users raise anything
            lost[name] = _describe(error)
            continue
        content = target.getvalue()
        if len(content) > left:
            lost[name] = f"its {len(content)} bytes are too many, pass it as an argument"
            continue
        left -= len(content)
        contents[name] = content
    return contents, lost


def _is_definition(name: str, value: Any) -> bool:
    if name.startswith("__"):
        return False
    if isinstance(value, FunctionType | type):
        return value.__module__ == "__main__"
    try:
        # Such as the wrapper of functools.lru_cache. An instance has the attribute from its class.
        return bool(vars(value).get("__module__") == "__main__")
    except Exception:  # noqa: BLE001 - most values have no attributes, and those of users raise anything
        return False


def _names(code: Any) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if hasattr(constant, "co_names"):
            yield from _names(constant)


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:_MAX_REASON]


def _explain_missing_names(main: ModuleType, reasons: dict[str, str]) -> None:
    """Give multiprocessing a stand-in for a name that this worker does not have."""

    def find_missing(name: str) -> Any:
        if name.startswith("__") or not _is_unpickling(sys._getframe(1)):  # noqa: SLF001 - no other way to know who asks
            raise AttributeError(f"module '__main__' has no attribute {name!r}")
        late = "it was not defined when this worker started: define it before you start the pool, or"
        return _stand_in(name, reasons.get(name, f"{late} {_ADVICE}"))

    main.__dict__["__getattr__"] = find_missing


def _is_unpickling(caller: FrameType) -> bool:
    folder, _, file = caller.f_code.co_filename.rpartition(os.sep)
    return file in _READERS and folder.endswith("multiprocessing")


class _StandIn(type):
    """The type of stand-ins. Pickles can create their instances, but every other use raises AttributeError."""

    reason = ""

    def __call__(cls, *_arguments: Any, **_options: Any) -> Any:
        if _is_unpickling(sys._getframe(1)):  # noqa: SLF001 - as above
            return object.__new__(cast("Any", cls))
        raise AttributeError(cls.reason)

    def __getattr__(cls, _name: str) -> NoReturn:
        raise AttributeError(cls.reason)


def _stand_in(name: str, reason: str) -> Any:
    text = f"a worker process does not have {name!r}: {reason}"

    def fail(*_arguments: Any, **_options: Any) -> NoReturn:
        raise AttributeError(text)

    failing = {f"__{operation}__": fail for operation in _OPERATIONS}
    kind = type(name, (_StandIn,), {"reason": text, **failing})
    new = staticmethod(lambda cls, *_arguments, **_options: object.__new__(cls))
    return kind(name, (), {"__new__": new, "__setstate__": lambda *_: None, "__getattr__": fail, **failing})
