"""The memory of the operator's real process, with the largest objects that the CRDs admit beside plain ones."""

import asyncio
import contextlib
import os
import sys
from functools import partial
from pathlib import Path

import pytest

from sandbox_operator.api.models import Pool, Session, Template
from sandbox_operator.kube.resources import POOLS, SESSIONS, TEMPLATES
from tests.support.running_operator import SYSTEM, RunningOperator
from tests.unit.operator.conftest import NAMESPACE
from tests.unit.operator.test_tenant_budgets import build

MIB = 1 << 20
COUNT = 12
"""Objects of each kind. Each is about 4 MB of JSON, mostly metadata."""
PEAK = 110 * MIB
"""Bytes that they may cost for a moment, an answer of 16 MiB and its objects included. Measured: 60 MiB."""
REST = 90 * MIB
"""Bytes that they may cost at rest: a process rarely returns memory. Measured: 41 MiB."""
LIMIT = 400 * MIB
"""Bytes of the whole process, whose limit in the chart is 512 MiB."""


def memory(pid, name):
    """Return a number of /proc/PID/status, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:"))


@contextlib.asynccontextmanager
async def operator_process(world):
    """Run `sandbox-operator run` against the world's API server."""
    own = {
        "KUBECONFIG": str(world.kubeconfig),
        "SANDBOX_OPERATOR_NAMESPACE": SYSTEM,
        "SANDBOX_OPERATOR_HEALTH_PORT": "0",
        "SANDBOX_OPERATOR_METRICS_PORT": "0",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sandbox_operator", "run"),
        env={**os.environ, **own},
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def list_without_copies(kube, resource, namespace, labels=""):
    """Do as FakeKube does, but without copies: the server serialises what it gets at once."""
    wanted = dict(part.split("=", 1) for part in labels.split(",") if part)
    items = [
        raw
        for (plural, where, _), raw in kube.objects.items()
        if plural == resource.plural
        and namespace in {None, where}
        and wanted.items() <= (raw["metadata"].get("labels") or {}).items()
    ]
    return items, str(next(kube._versions))


async def measure(folder, count):
    """Return the peak and the memory at rest of an operator that has listed and reconciled this many large objects."""
    world = RunningOperator(folder)
    # No pod ever runs: the process would dial its address.
    world.kube.watchers.remove(world._play_kubelet)
    world.kube.list = partial(list_without_copies, world.kube)
    for number in range(count):
        for kind, model in ((SESSIONS, Session), (TEMPLATES, Template), (POOLS, Pool)):
            body = build(kind, model, number)
            body["metadata"] |= {"name": f"large-{number}"}
            del body["metadata"]["uid"]
            if kind is POOLS:
                body["spec"]["replicas"] = 0
            world.kube.put(kind, NAMESPACE, body)
    world.add_session("plain")
    await world.server.start()
    world._write_kubeconfig()

    async def rest(name):
        """Wait until a session that came last has a status, and the operator has asked for nothing for two seconds."""
        seen = -1
        while "status" not in world.kube.named(SESSIONS)[name] or count_requests() > seen:
            assert process.returncode is None, "the operator ended"
            seen = count_requests()
            await asyncio.sleep(2)

    def count_requests():
        return sum("/leases" not in path for _, path in world.server.requests)

    try:
        async with operator_process(world) as process, asyncio.timeout(240):
            await rest("plain")
            # Again, as after a change of each.
            for number in range(count):
                change = {"metadata": {"annotations": {"poke": "1"}}, "spec": {"suspended": True}}
                world.kube.change(SESSIONS, NAMESPACE, f"large-{number}", change)
            world.add_session("late")
            await rest("late")
            return memory(process.pid, "VmHWM"), memory(process.pid, "VmRSS")
    finally:
        await world.server.stop()


@pytest.mark.timeout(400)
async def test_the_operators_process_stays_small_with_the_largest_objects_that_the_crds_admit(tmp_path):
    for name in ("plain", "large"):
        (tmp_path / name).mkdir()
    plain_peak, plain_rest = await measure(tmp_path / "plain", 0)
    peak, rest = await measure(tmp_path / "large", COUNT)
    assert peak < LIMIT
    assert peak - plain_peak < PEAK
    assert rest - plain_rest < REST
