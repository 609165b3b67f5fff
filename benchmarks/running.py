"""Takes the samples of a measure. The sides take turns, and each round begins with another side."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.measuring import Measure


def rounds_of(measure: Measure, side: str, *, is_quick: bool) -> int:
    """Return the number of samples to take of a side."""
    rounds = measure.quick_rounds if is_quick else measure.rounds
    if side == "peer" and measure.peer_rounds is not None:
        return min(rounds, measure.peer_rounds)
    return rounds


def take_samples(measure: Measure, *, is_quick: bool, on_sample: Callable[[], None]) -> dict[str, list[float]]:
    """Take the samples of a measure.

    Args:
        measure: The measure.
        is_quick: True to take fewer samples.
        on_sample: Called after each sample.

    Returns:
        The samples by side, in the order in which they were taken.
    """
    wanted = {side: rounds_of(measure, side, is_quick=is_quick) for side in measure.sides}
    samples: dict[str, list[float]] = {side: [] for side in measure.sides}
    for _ in range(measure.warmup):
        for sample in measure.sides.values():
            sample()
    # A garbage collection of this process during a sample would count as the sandbox's time.
    gc.collect()
    gc.freeze()
    order = list(measure.sides)
    while any(len(samples[side]) < wanted[side] for side in order):
        measure.before()
        for side in order:
            if len(samples[side]) < wanted[side]:
                samples[side].append(measure.sides[side]())
                on_sample()
        # The side that goes first finds colder caches, so the sides take turns.
        order.append(order.pop(0))
    return samples
