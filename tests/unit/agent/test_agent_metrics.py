"""The figures of a session: what an untrusted runtime may say, and what it may not."""

from __future__ import annotations

import math

import pytest

from sandbox_agent.runtime_values import read_metrics
from sandbox_link.frames import FrameError

GOOD = {
    "cpus_used": 0.5,
    "cpus": 2,
    "memory_bytes": 1,
    "memory_limit": 2,
    "disk_bytes": 3,
    "disk_total": 4,
    "processes": 5,
    "ports": [{"port": 80, "address": "::", "pid": 6}],
}


def test_good_figures_are_passed_on():
    metrics = read_metrics(GOOD)
    assert (metrics.cpus_used, metrics.cpus, metrics.memory_bytes, metrics.memory_limit) == (0.5, 2.0, 1, 2)
    assert (metrics.disk_bytes, metrics.disk_total, metrics.processes) == (3, 4, 5)
    assert [(port.port, port.address, port.pid) for port in metrics.ports] == [(80, "::", 6)]


@pytest.mark.parametrize(
    "bad",
    [
        {"cpus": -1},
        {"cpus": math.nan},
        {"cpus": math.inf},
        {"cpus": 10**400},
        {"cpus_used": True},
        {"cpus_used": "1"},
        {"processes": 1.5},
        {"processes": 1 << 40},
        {"memory_bytes": "1"},
        {"ports": None},
        {"ports": [1]},
        {"ports": [{"port": 0}]},
        {"ports": [{"port": 65536}]},
        {"ports": [{"port": 1, "pid": 1 << 31}]},
        {"ports": [{"port": 1}] * 1001},
    ],
)
def test_malformed_figures_are_refused(bad):
    with pytest.raises(FrameError):
        read_metrics({**GOOD, **bad})
