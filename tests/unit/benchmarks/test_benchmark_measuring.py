"""What a benchmark makes of its samples."""

from __future__ import annotations

import json
import math
import random

import pytest

from benchmarks.measuring import (
    Measure,
    at_most,
    faster_than_peer,
    interval_of_median,
    judge,
    percentile,
    share_of_floor,
    within_floor,
)
from benchmarks.reporting import build_table, write_json
from benchmarks.running import take_samples


def _measure(*goals, sides=None, **more):
    return Measure("a call", "ms", sides or {}, list(goals), rounds=4, quick_rounds=2, **more)


@pytest.mark.parametrize(
    ("goal", "ratio", "met", "moonshot_met"),
    [
        (faster_than_peer(5, 8), 6.0, True, False),
        (within_floor(2, 1.25), 2.0, True, False),
        (within_floor(1.5), 2.0, False, None),
        (share_of_floor(0.7, 2), 2.0, True, True),
    ],
)
def test_a_ratio_of_medians_is_held_against_the_goal(goal, ratio, met, moonshot_met):
    samples = {"ours": [1.0, 2.0, 99.0], "peer": [12.0, 12.0], "floor": [1.0]}
    (row,) = judge(_measure(goal), samples, "a machine")
    assert (row.ratio, row.met, row.moonshot_met) == (ratio, met, moonshot_met)
    assert (row.ours, row.peer, row.floor) == (2.0, 12.0, 1.0)
    assert row.n == {"ours": 3, "peer": 2, "floor": 1}


def test_a_goal_in_the_unit_has_no_ratio():
    (row,) = judge(_measure(at_most(50, 25)), {"ours": [45.0]}, "a machine")
    assert (row.ratio, row.must, row.met, row.moonshot_met) == (None, "<= 50", True, False)


def test_a_goal_whose_side_is_missing_is_neither_met_nor_missed():
    (row,) = judge(_measure(faster_than_peer(5)), {"ours": [1.0]}, "a machine")
    assert (row.ratio, row.met) == (None, None)


def test_a_percentile_is_one_of_the_samples():
    ordered = [float(number) for number in range(1, 201)]
    assert (percentile(ordered, 50), percentile(ordered, 99), percentile([7.0], 99)) == (100.0, 198.0, 7.0)


@pytest.mark.parametrize(("is_quick", "expected"), [(False, (4, 3)), (True, (2, 2))])
def test_sides_are_sampled_in_turns_each_as_often_as_it_should_be(is_quick, expected):
    order = []
    sides = {name: lambda name=name: order.append(name) or 1.0 for name in ("ours", "peer")}
    told = []
    measure = _measure(sides=sides, peer_rounds=3, before=lambda: order.append("before"))
    samples = take_samples(measure, is_quick=is_quick, on_sample=lambda: told.append(1))
    assert (len(samples["ours"]), len(samples["peer"])) == expected
    assert len(told) == sum(expected)
    assert order[:6] == ["before", "ours", "peer", "before", "peer", "ours"]


def test_results_are_a_json_list_with_every_field_of_the_table(tmp_path):
    rows = judge(_measure(faster_than_peer(5), at_most(3)), {"ours": [2.0], "peer": [10.0]}, "a machine")
    write_json(rows, tmp_path / "results" / "interpreter.json")
    first, second = json.loads((tmp_path / "results" / "interpreter.json").read_text())
    assert {"measure", "unit", "ours", "peer", "floor", "ratio", "must", "met", "n", "p50", "p99"} <= set(first)
    assert (first["ratio"], first["met"], first["machine"]) == (5.0, True, "a machine")
    assert (second["ratio"], second["must"]) == (None, "<= 3")
    assert build_table(rows).row_count == 2
    assert not math.isnan(first["ours"])


def test_pairs_have_a_ratio_of_their_own_which_load_on_both_sides_does_not_change():
    loads = [1.0, 50.0, 2.0] * 100
    samples = {"ours": [1.1 * load for load in loads], "floor": loads}
    (row,) = judge(_measure(within_floor(1.2), is_paired=True), samples, "a machine")
    assert row.ratio == pytest.approx(1.1)
    assert row.interval == pytest.approx((1.1, 1.1))
    assert row.met is True


@pytest.mark.parametrize(("must", "met"), [(1.3, True), (0.7, False), (1.0, None)])
def test_a_goal_inside_the_interval_is_neither_met_nor_missed(must, met):
    ours = [1.0 + (number % 41 - 20) / 100 for number in range(400)]
    (row,) = judge(
        _measure(within_floor(must), is_paired=True), {"ours": ours, "floor": [1.0] * len(ours)}, "a machine"
    )
    assert row.interval[0] < 1.0 < row.interval[1]
    assert row.met is met


def test_the_interval_of_a_median_contains_it_nineteen_times_out_of_twenty():
    chance = random.Random(1)
    found = [interval_of_median(sorted(chance.expovariate(1) for _ in range(200))) for _ in range(500)]
    share = sum(low <= math.log(2) <= high for low, high in found) / len(found)
    assert 0.92 < share < 0.98
