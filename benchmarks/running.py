"""Takes the samples of a measure: the sides in turns, each round beginning with another side."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.measuring import Measure


def rounds_of(measure: Measure, side: str, *, is_quick: bool) -> int:
    """How many samples of a side are taken."""
    rounds = measure.quick_rounds if is_quick else measure.rounds
    if side == "peer" and measure.peer_rounds is not None:
        return min(rounds, measure.peer_rounds)
    return rounds


def take_samples(measure: Measure, *, is_quick: bool, on_sample: Callable[[], None]) -> dict[str, list[float]]:
    """Samples by side, in the order they were taken.

    Args:
        measure: What to sample.
        is_quick: Fewer samples.
        on_sample: Told each time one was taken.
    """
    wanted = {side: rounds_of(measure, side, is_quick=is_quick) for side in measure.sides}
    samples: dict[str, list[float]] = {side: [] for side in measure.sides}
    for _ in range(measure.warmup):
        for sample in measure.sides.values():
            sample()
    # A collection of this process in the middle of a sample would be counted as the sandbox's.
    gc.collect()
    gc.freeze()
    order = list(measure.sides)
    while any(len(samples[side]) < wanted[side] for side in order):
        measure.before()
        for side in order:
            if len(samples[side]) < wanted[side]:
                samples[side].append(measure.sides[side]())
                on_sample()
        # Whoever comes first finds colder caches: take turns.
        order.append(order.pop(0))
    return samples
