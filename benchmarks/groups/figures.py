"""Measures the first and second matplotlib figure of a new interpreter, as PNG at the client."""

from __future__ import annotations

import base64
import time
from typing import TYPE_CHECKING, Final

from benchmarks.measuring import Measure, faster_than_peer
from benchmarks.sides.jupyter import Kernel

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.lab import Lab
    from benchmarks.sides.session import Session

FIGURE: Final = """
import matplotlib.pyplot as plt
plt.plot([1, 3, 2, 5])
plt.title("Sales")
plt.xlabel("quarter")
plt.show()
"""
_PNG: Final = b"\x89PNG\r\n\x1a\n"


def build(lab: Lab) -> list[Measure]:
    """Build the measures: milliseconds of a cell that imports pyplot, plots and shows a figure.

    Both samples come from one new interpreter.
    """
    session = lab.session
    ours, peer = _Pair(lambda: _ours(session)), _Pair(_peer)
    return [
        Measure(name, "ms", sides, [faster_than_peer(must)], rounds=8, quick_rounds=2)
        for name, sides, must in (
            ("first matplotlib figure", {"ours": ours.first, "peer": peer.first}, 3.0),
            ("second matplotlib figure", {"ours": ours.second, "peer": peer.second}, 1.5),
        )
    ]


class _Pair:
    """Samples that are taken in pairs. The second ones are kept until they are asked for."""

    def __init__(self, take: Callable[[], tuple[float, float]]) -> None:
        self._take = take
        self._seconds: list[float] = []

    def first(self) -> float:
        first, second = self._take()
        self._seconds.append(second)
        return first

    def second(self) -> float:
        if not self._seconds:
            self.first()
        return self._seconds.pop()


def _ours(session: Session) -> tuple[float, float]:
    context = session.sandbox.contexts.create("python")
    session.execute("1", context=context.id)
    times = []
    for _ in range(2):
        start = time.perf_counter()
        results = session.execute(FIGURE, context=context.id).results
        times.append((time.perf_counter() - start) * 1e3)
        if not any(result.data.get("image/png", b"").startswith(_PNG) for result in results):
            raise RuntimeError("no PNG arrived from our session")
    session.sandbox.contexts.delete(context.id)
    return times[0], times[1]


def _peer() -> tuple[float, float]:
    with Kernel() as kernel:
        kernel.execute("1")
        times = []
        for _ in range(2):
            start = time.perf_counter()
            images = kernel.execute(FIGURE)[1]
            times.append((time.perf_counter() - start) * 1e3)
            if not any(base64.b64decode(image).startswith(_PNG) for image in images):
                raise RuntimeError("no PNG arrived from the kernel")
        return times[0], times[1]
