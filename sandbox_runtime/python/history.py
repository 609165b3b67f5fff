"""The names that IPython keeps of earlier cells: `In`, `Out`, `_`, `__`, `___`, `_7`, `_i`, `_i7`.

They work without IPython too. Its shell, once built, shares the lists, so `%history` and `%rerun` find the cells.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_VALUES: Final = 1_000
"""Most values that `Out` keeps, as in IPython. A fifth is forgotten when there are more."""
MAX_VALUE_BYTES: Final = 64 << 20
"""Largest array, table or text that `Out` keeps. `_` still refers to it, until the next value."""
_OWN_NAME: Final = re.compile(r"_{1,3}|_i{1,3}|_i?\d+|_[oid]h|_exit_code")
_SHARED: Final = {"In": "_ih", "Out": "_oh"}
_SET_BY_IPYTHON: Final = ("In", "Out", "_ih", "_oh", "_", "__", "___", "_i", "_ii", "_iii")
_SIZED: Final = frozenset({"numpy", "pandas"})


class History:
    """The inputs and values of one namespace.

    Attributes:
        number: The number of the running cell.
        inputs: The cells as Python, from 1.
        raw_inputs: The cells as they came.
        outputs: The values that cells have shown, by the cell's number.
    """

    def __init__(self, namespace: dict[str, Any]) -> None:
        self.number = 0
        self.inputs = [""]
        self.raw_inputs = [""]
        self.outputs: dict[int, Any] = {}
        self._namespace = namespace
        self._last_input = ""
        self._values: tuple[Any, Any, Any] = ("", "", "")
        self._shown = self._values
        self.restore()

    def names(self) -> dict[str, Any]:
        """Return the names that do not depend on a cell."""
        return {"In": self.inputs, "Out": self.outputs, "_ih": self.inputs, "_oh": self.outputs}

    def restore(self) -> None:
        """Put the names into the namespace, which may have been emptied."""
        self._values = self._shown = ("", "", "")
        self._namespace.update(self.names(), _="", __="", ___="", _i="", _ii="", _iii="")

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Keep the names as they are, while IPython's shell is built and sets its own."""
        values = self._values, self._shown
        names: dict[str, Any] = {name: self._namespace[name] for name in _SET_BY_IPYTHON if name in self._namespace}
        try:
            yield
        finally:
            self._values, self._shown = values
            self._namespace.update(names)

    def begin(self, number: int, source: str) -> None:
        """Record a cell that is about to run. Number 0 is not recorded."""
        if not number:
            return
        self.number = number
        namespace, inputs = self._namespace, self.inputs
        for _ in range(number - len(inputs)):
            # The interpreter was replaced: its cells are counted on.
            inputs.append("")
            self.raw_inputs.append("")
        inputs.append(source)
        self.raw_inputs.append(source)
        namespace["_iii"], namespace["_ii"] = namespace.get("_ii", ""), namespace.get("_i", "")
        namespace["_i"] = self._last_input
        namespace[f"_i{number}"] = self._last_input = source

    def translate(self, source: str) -> None:
        """Record the Python form of the running cell."""
        if self.number:
            self.inputs[-1:] = [source]

    def record(self, value: Any) -> None:
        """Record the value of the running cell."""
        if value is self.outputs:
            return
        namespace = self._namespace
        self._values = value, *self._values[:2]
        first, second, third = self._shown
        # A name that user code has set stays. One that it has deleted comes again.
        if (
            namespace.get("_", first) is first
            and namespace.get("__", second) is second
            and namespace.get("___", third) is third
        ):
            self._shown = namespace["_"], namespace["__"], namespace["___"] = self._values
        if self.number and _size(value) <= MAX_VALUE_BYTES:
            if len(self.outputs) >= MAX_VALUES:
                self._forget(MAX_VALUES // 5)
            namespace[f"_{self.number}"] = self.outputs[self.number] = value

    def get_tail(
        self,
        n: int = 10,
        raw: bool = True,  # noqa: FBT001, FBT002 - IPython's signature
        output: bool = False,  # noqa: FBT001, FBT002 - same
        include_latest: bool = False,  # noqa: FBT001, FBT002 - same
    ) -> list[tuple[int, int, Any]]:
        """Return the session, number and source of the last `n` cells, with the text of their values on request."""
        inputs = self.raw_inputs if raw else self.inputs
        end = len(inputs) if include_latest else len(inputs) - 1
        found: list[tuple[int, int, Any]] = []
        for number in range(max(1, end - n), end):
            text = repr(self.outputs[number]) if number in self.outputs else None
            found.append((0, number, (inputs[number], text) if output else inputs[number]))
        return found

    def _forget(self, count: int) -> None:
        for number in sorted(self.outputs)[:count]:
            del self.outputs[number]
            self._namespace.pop(f"_{number}", None)


def is_own_variable(namespace: dict[str, Any], name: str) -> bool:
    """Return True for a variable that the runtime or IPython has set, not user code."""
    if name in _SHARED:
        return namespace.get(name) is namespace.get(_SHARED[name])
    return _OWN_NAME.fullmatch(name) is not None


def _size(value: Any) -> int:
    """Return the bytes of an array, a table or a text, and 0 for anything else."""
    kind = type(value)
    if kind in (str, bytes, bytearray):
        return len(value)
    if kind.__module__.partition(".")[0] not in _SIZED:
        return 0
    try:
        return int(value.memory_usage(deep=False).sum() if kind.__name__ == "DataFrame" else value.nbytes)
    except Exception:  # noqa: BLE001 - a subclass of user code, or a value without a size
        return 0
