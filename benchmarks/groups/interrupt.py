"""Measures the interrupt of an endless loop."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final

from benchmarks.measuring import Measure, faster_than_peer
from sandbox_client import Status

if TYPE_CHECKING:
    from benchmarks.lab import Lab
    from benchmarks.sides.jupyter import Kernel
    from benchmarks.sides.session import Session

LOOP: Final = "print('in the loop', flush=True)\nwhile True: pass"
_TIMEOUT: Final = 30.0


def build(lab: Lab) -> list[Measure]:
    """Build the measure: milliseconds from the interrupt to the cell's completion at the client."""
    session, kernel = lab.session, lab.kernel
    return [
        Measure(
            name="interrupt of while True: pass",
            unit="ms",
            sides={"ours": lambda: _ours(session), "peer": lambda: _peer(kernel)},
            goals=[faster_than_peer(4)],
            rounds=30,
            quick_rounds=5,
            warmup=2,
        )
    ]


def _ours(session: Session) -> float:
    running = threading.Event()
    ended: list[tuple[Status, float]] = []

    def run() -> None:
        execution = session.sandbox.run_code(LOOP, on_stdout=lambda _text: running.set())
        ended.append((execution.status, time.perf_counter()))

    thread = threading.Thread(target=run)
    thread.start()
    if not running.wait(_TIMEOUT):
        raise RuntimeError("our loop did not start")
    start = time.perf_counter()
    session.sandbox.contexts.interrupt("python")
    thread.join(_TIMEOUT)
    if not ended or ended[0][0] is not Status.INTERRUPTED:
        raise RuntimeError(f"our loop ended with {ended}")
    return (ended[0][1] - start) * 1e3


def _peer(kernel: Kernel) -> float:
    start = 0.0

    def take(kind: str, _content: dict[str, Any]) -> None:
        nonlocal start
        if kind == "stream":
            start = time.perf_counter()
            kernel.interrupt()

    status = kernel.finish(kernel.start(LOOP), take)
    if status != "error":
        raise RuntimeError(f"the kernel's loop ended with {status}")
    return (time.perf_counter() - start) * 1e3
