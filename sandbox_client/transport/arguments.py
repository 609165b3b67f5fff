"""Checks the types of arguments before anything is sent, for every public method of a class. Pure: no I/O.

The checks are derived from the annotations, so a new parameter is checked without further code. A value of the wrong
type is refused by the name of its parameter.
"""

from __future__ import annotations

import datetime as dt
import functools
import inspect
import numbers
import os
import pathlib
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

from sandbox_client.errors import InvalidArgument
from sandbox_client.models.context import Context
from sandbox_client.models.process_info import ProcessInfo
from sandbox_client.models.readable import short

if TYPE_CHECKING:
    from collections.abc import Sequence

ClassT = TypeVar("ClassT", bound=type)
Check = Callable[[object], bool]
_TEXT: Final = (str, bytes, bytearray, memoryview)
_USUAL_TYPES: Final = {"None": (type(None),), "float": (float, int), "bool": (bool,), "bytes": (bytes,)}
_CHECKED: Final[set[Any]] = set()
"""Methods that check their arguments already, for the classes that inherit them."""
_BROKEN_TEXT: Final = (
    "they stand for bytes in another encoding. Write it in UTF-8, or set a locale that is UTF-8 (LC_ALL=C.UTF-8)"
)
_WIDE: Final = frozenset({"offset", "length"})
"""Parameters that count bytes of a file. Others are 32-bit numbers of the protocol."""


def checks_arguments(class_: ClassT) -> ClassT:
    """Make each public method of a class check its arguments, the inherited ones included.

    Raises:
        InvalidArgument: From the methods: an argument has the wrong type; `field` names it.
    """
    for name in dir(class_):
        member = inspect.getattr_static(class_, name)
        function = getattr(member, "__func__", member)
        if not name.startswith("_") and inspect.isfunction(function) and function not in _CHECKED:
            checked = _checked(function)
            _CHECKED.add(checked)
            setattr(class_, name, classmethod(checked) if isinstance(member, classmethod) else checked)
    return class_


def id_of(value: Any) -> Any:
    """Return the id of a context or process. An id stays as it is."""
    return value if isinstance(value, str) or value is None else value.id


def _checked(method: Any) -> Any:
    checks = _Checks(method)
    if not inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            checks.run(args, kwargs)
            return method(*args, **kwargs)

        return call

    # A coroutine function stays one, because frameworks ask.
    @functools.wraps(method)
    async def call_async(*args: Any, **kwargs: Any) -> Any:
        checks.run(args, kwargs)
        return await method(*args, **kwargs)

    return call_async


class _Checks:
    """The checks of one method's arguments, built at its first call."""

    def __init__(self, method: Any) -> None:
        self._method = method
        self._by_name: dict[str, Check] = {}
        self._wanted: dict[str, str] = {}
        self._positions: Sequence[str] = ()

    def run(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        if not self._positions:
            self._build()
        checks = self._by_name
        for name, value in zip(self._positions, args, strict=False):
            if name in checks and not checks[name](value):
                self._refuse(name, value)
        for name, value in kwargs.items():
            if name in checks and not checks[name](value):
                self._refuse(name, value)

    def _refuse(self, name: str, value: object) -> NoReturn:
        if (text := _find_broken_text(value)) is not None:
            message = f"{name} has characters that no UTF-8 text can have, such as {text!a}: {_BROKEN_TEXT}"
            raise InvalidArgument(message, reason="INVALID_ARGUMENT", field=name)
        message = f"{name} is {short(value)}, of type {type(value).__name__}: give {self._wanted[name]}"
        raise InvalidArgument(message, reason="INVALID_ARGUMENT", field=name)

    def _build(self) -> None:
        parameters = inspect.signature(self._method).parameters
        # The first one is `self` or `cls`.
        for name, parameter in list(parameters.items())[1:]:
            kinds = _split(str(parameter.annotation))
            if any(kind.startswith("os.PathLike") for kind in kinds):
                # The name of a local file may have bytes that are not UTF-8.
                kinds = ["local path" if kind == "str" else kind for kind in kinds]
            checks = [_check_of(kind, name) for kind in kinds]
            if all(check is not None for check, _ in checks):
                usual = [kind for kind in kinds if kind in _USUAL_TYPES and (kind, name) != ("float", "timeout")]
                self._by_name[name] = _any(kinds, usual, [check for check, _ in checks if check is not None])
                self._wanted[name] = " or ".join(dict.fromkeys(text for _, text in checks))
        self._positions = tuple(parameters)


def _find_broken_text(value: object) -> str | None:
    """Return the first half of a surrogate pair in a text, or in a list or mapping of texts. None if there is none."""
    if isinstance(value, Mapping):
        value = [*value, *value.values()]
    texts = value if isinstance(value, list | tuple) else [value]
    found = (char for text in texts if isinstance(text, str) for char in text if "\ud800" <= char <= "\udfff")
    return next(found, None)


def _any(kinds: list[str], usual: list[str], checks: list[Check]) -> Check:
    """Return a check for any of these kinds. It is fast for the usual ones, because every call passes here."""
    types = frozenset(each for kind in usual for each in _USUAL_TYPES[kind])
    has_text = "str" in kinds

    def check(value: Any) -> bool:
        kind = type(value)
        if kind in types or (has_text and kind is str and value.isascii()):
            return True
        return any(check(value) for check in checks)

    return check


def _split(annotation: str) -> list[str]:
    """Return the members of a union, as in `str | Sequence[int | str]`."""
    kinds, depth, start = [], 0, 0
    for index, character in enumerate(annotation):
        depth += {"[": 1, "]": -1}.get(character, 0)
        if character == "|" and depth == 0:
            kinds.append(annotation[start:index].strip())
            start = index + 1
    return [*kinds, annotation[start:].strip()]


def _check_of(kind: str, name: str) -> tuple[Check | None, str]:
    """Return the check of one member of a union, or None if there is none, and what it expects."""
    base, _, inner = kind.partition("[")
    if base in ("int", "float"):
        return _number_check(kind, name)
    if base in ("Iterable", "Sequence", "list"):
        return _items_check(_split(inner.removesuffix("]")), name)
    if base == "Mapping":
        is_text = inner.replace(" ", "") == "str,str]"
        return _is_text_mapping if is_text else lambda value: isinstance(
            value, Mapping
        ), "a mapping" + " of texts" * is_text
    if base == "Literal":
        return lambda value: isinstance(value, str), f"one of {inner.removesuffix(']')}"
    return _SIMPLE.get(base, (None, ""))


def _number_check(kind: str, name: str) -> tuple[Check, str]:
    if kind == "float":
        return (_is_timeout, "a number of at least 0") if name == "timeout" else (_is_number, "a number")
    largest = (1 << 63) - 1 if name in _WIDE else (1 << 31) - 1
    if name.endswith("_limit") or name == "signal":
        return _is_integer, "a whole number"
    return lambda value: _is_integer(value) and 0 <= value <= largest, f"a whole number from 0 to {largest:,}"


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _is_timeout(value: Any) -> bool:
    # The comparison is false for NaN, too.
    return _is_number(value) and bool(value >= 0)


def _is_integer(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _items_check(kinds: list[str], name: str) -> tuple[Check | None, str]:
    checks = [check for check, _ in (_check_of(kind, name) for kind in kinds) if check is not None]

    def check(value: Any) -> bool:
        # Text is iterable as well, but its letters are never meant.
        if isinstance(value, _TEXT) or not isinstance(value, Iterable):
            return False
        # An iterator can be read only once.
        return not (checks and isinstance(value, list | tuple)) or all(any(c(item) for c in checks) for item in value)

    return check, "pieces of bytes" if kinds == ["bytes"] else "a list of texts"


def _is_text(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        return value.isascii() or bool(value.encode())
    except UnicodeEncodeError:
        return False


def _is_text_mapping(value: Any) -> bool:
    return isinstance(value, Mapping) and all(_is_text(text) for item in value.items() for text in item)


def _is_path(value: Any) -> bool:
    return isinstance(value, pathlib.PurePath) and _is_text(str(value))


def _is_duration(value: Any) -> bool:
    return isinstance(value, numbers.Real | str | dt.timedelta) and not isinstance(value, bool)


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple | list) and len(value) == len("xy") and all(map(_is_integer, value))


_SIMPLE: Final[dict[str, tuple[Check, str]]] = {
    "None": (lambda value: value is None, "None"),
    "str": (_is_text, "text"),
    "bytes": (lambda value: isinstance(value, bytes | bytearray | memoryview), "bytes"),
    "bool": (lambda value: isinstance(value, bool | int), "True or False"),
    "PurePosixPath": (_is_path, "a path"),
    "os.PathLike": (lambda value: isinstance(value, os.PathLike), "a path"),
    "local path": (lambda value: isinstance(value, str), "text"),
    "AsyncIterable": (lambda value: isinstance(value, AsyncIterable), "an async iterator"),
    "Callable": (callable, "a function"),
    "tuple": (_is_pair, "a pair of whole numbers"),
    "Duration": (_is_duration, "a time in seconds or such as '15m'"),
    "dt.datetime": (lambda value: isinstance(value, dt.datetime), "a datetime"),
    "dt.timedelta": (lambda value: isinstance(value, dt.timedelta), "a timedelta"),
    "Context": (lambda value: isinstance(value, Context), "a Context"),
    "ProcessInfo": (lambda value: isinstance(value, ProcessInfo), "a ProcessInfo"),
}
