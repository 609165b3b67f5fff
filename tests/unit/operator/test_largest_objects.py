"""The largest objects that the CRDs admit cost the operator bounded memory, whatever a tenant puts into their fields.

The objects are built from the schemas: each text, list and map is empty, has one character or item, or as many as it
may have. The memory is that of a whole life of the object: listed, reconciled until nothing is left to do, and deleted.
"""

import asyncio
import gc
import json
import re
import tracemalloc

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sandbox_operator.api.crds import build_schema
from sandbox_operator.api.models import Pool, Session, Template
from sandbox_operator.kube.resources import POOLS, SECRETS, SESSIONS, TEMPLATES
from sandbox_operator.watch.handlers import session_key
from tests.unit.operator.conftest import NAMESPACE, World
from tests.unit.operator.test_tenant_budgets import ETCD, inflate

MIB = 1024 * 1024
SAMPLES = ("default", "1h", "2030-01-31T18:00:00Z", "1Gi", "/models", "V", "10.0.0.0/8", "app")
CHARACTERS = ("€", "x", "é", "𝄞")
FILLS = (1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.0)
_AMOUNTS = st.sampled_from([None, None, None, 1, 0])
"""Characters or items. None stands for the most. It comes first, so that the simplest example is the largest."""
PEAK = 16 * MIB
"""Bytes at the worst moment. The API server's answer, its text and the fake server's own copies are a part of it."""
KEPT = 1.25 * MIB
"""Bytes of the object, as JSON, that stay in the store. Most is a template's: 256 Ki characters."""


def plans(schema):  # noqa: PLR0911 - one return per type
    """Describe how the largest values of a schema are built, in few decisions: equal items of a list share theirs."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema.get("x-kubernetes-int-or-string"):
        return st.sampled_from([1, "1", "1Gi", "0." + "9" * 200, 2**63 - 1])
    match schema["type"]:
        case "string":
            return st.tuples(st.just("text"), st.sampled_from(CHARACTERS), _AMOUNTS)
        case "integer":
            return st.sampled_from([schema.get("minimum", 0), 1, schema.get("maximum", 2**31 - 1)])
        case "boolean":
            return st.booleans()
        case "array":
            return st.tuples(st.just("list"), _AMOUNTS, plans(schema["items"]))
    if "additionalProperties" in schema:
        values = plans(schema["additionalProperties"])
        return st.tuples(st.just("map"), _AMOUNTS, values)
    required = set(schema.get("required", ()))
    parts = {name: plans(part) if name in required else plans(part) | st.none() for name, part in
             schema.get("properties", {}).items()}  # fmt: skip
    return st.fixed_dictionaries(parts)


def build(schema, plan, fill, number=0):
    """Build the value of a plan. `fill` is the part of the most characters and items that is used."""
    if isinstance(plan, dict):
        fields = schema["properties"]
        return {name: build(fields[name], part, fill, number) for name, part in plan.items() if part is not None}
    if not isinstance(plan, tuple):
        return plan
    kind, *rest = plan
    if kind == "text":
        return build_text(schema, *rest, fill, number)
    count, inner = rest
    most = schema.get("maxItems" if kind == "list" else "maxProperties", 0)
    count = max(1, int(most * fill)) if count is None else min(count, most)
    if kind == "list":
        return [build(schema["items"], inner, fill, index) for index in range(count)]
    return {f"{index:063}": build(schema["additionalProperties"], inner, fill, index) for index in range(count)}


def build_text(schema, character, length, fill, number):
    message = str(schema.get("x-kubernetes-validations", ""))
    if "pattern" in schema or message:
        wanted = next((each for each in SAMPLES if re.search(schema.get("pattern", ""), each)), "default")
        wanted = "2030-01-31T18:00:00Z" if "RFC 3339" in message else "1h" if "720h" in message else wanted
        return f"V{number}" if wanted == "V" or "A-Za-z_" in schema.get("pattern", "") else wanted
    if schema.get("format") == "date-time":
        return "2026-01-01T00:00:00Z"
    most = schema.get("maxLength", 64)
    length = max(8, int(most * fill)) if length is None else length
    return (f"{number:04}" + character * length)[: min(length, most)]


def fit(model, plan):
    """Build the largest spec and status of a plan that the API server stores."""
    schema = build_schema(model)["properties"]
    for fill in FILLS:
        raw = {name: build(schema[name], part, fill) for name, part in plan.items()}
        if len(json.dumps(raw, ensure_ascii=False).encode()) <= ETCD:
            return raw
    raise AssertionError("even the smallest one is too large")


class Large:
    """An object that hypothesis does not print."""

    def __init__(self, raw):
        self.raw = raw
        self.size = len(json.dumps(raw, ensure_ascii=False).encode())

    def __repr__(self):
        return f"<object of {self.size} bytes>"


def objects(model):
    schema = build_schema(model)["properties"]
    parts = {name: plans(schema[name]) for name in ("spec", "status") if name in schema}
    return st.fixed_dictionaries(parts).map(lambda plan: Large(fit(model, plan)))


async def live(kind, raw):
    """Return the peak, and what stays, of a world with one such object beside a plain session."""
    world = World()
    world.kube.watchers.clear()
    if kind is not TEMPLATES:
        world.add_template(resources={"maximum": {"cpu": "4", "memory": "64Gi", "ephemeral-storage": "64Gi"}})
    world.kube.put(SECRETS, NAMESPACE, {"metadata": {"name": "default"}, "data": {"default": "eA=="}})
    name = "default" if kind is TEMPLATES else "large"
    body = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": inflate({"name": name}), **raw}
    if kind is POOLS:
        # Their number is the administrator's to limit. Here only the object counts.
        body["spec"]["replicas"] = min(body["spec"].get("replicas", 0), 3)
    world.kube.put(kind, NAMESPACE, body)
    world.add_session("plain")
    gc.collect()
    tracemalloc.start()
    try:
        operator = world.restart()
        await operator.list_all()
        await world.settle()
        _, peak = tracemalloc.get_traced_memory()
        stored = operator.store.get(kind, (NAMESPACE, name))
    finally:
        tracemalloc.stop()
    return peak, len(json.dumps(stored, ensure_ascii=False).encode()), world


@pytest.mark.parametrize(
    ("kind", "model"),
    [(SESSIONS, Session), (TEMPLATES, Template), (POOLS, Pool)],
    ids=["sessions", "templates", "pools"],
)
def test_the_operators_memory_is_bounded_for_every_object_that_a_crd_admits(kind, model):
    sizes = []

    # Without shrinking: each example takes a second, and the sizes say enough.
    @given(objects(model))
    @settings(
        max_examples=6,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def check(large):
        peak, kept, world = asyncio.run(live(kind, large.raw))
        sizes.append(large.size)
        assert peak < PEAK
        assert kept < KEPT
        # Whatever becomes of the large one, the plain one is not held up by it.
        if kind is not TEMPLATES:
            assert world.status("plain")["phase"] == "Ready"

    check()
    assert max(sizes) > 0.1 * MIB


async def test_sessions_that_cannot_be_bound_cost_constant_memory_and_work():
    world = World()
    world.add_template()
    for number in range(100):
        env = [{"name": f"V{n}", "secretKeyRef": {"name": f"none-{number}-{n}", "key": "k"}} for n in range(60)]
        world.add_session(f"s{number}", env=env)
    await world.settle()
    sizes, calls = [], []
    tracemalloc.start()
    try:
        for _ in range(8):
            world.clock.advance(minutes=10)
            world.kube.calls.clear()
            world.operator.acknowledged.clear()
            for number in range(100):
                world.operator._enqueue(session_key(NAMESPACE, f"s{number}"))
            await world.settle()
            calls.append(len(world.kube.calls))
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    # At most one write for each: its access Secret is looked at again after a while.
    assert max(calls) <= 100
    # Caches of tokens and signatures fill once. An environment that was kept would be 6 KB for each round.
    assert sizes[-1] - sizes[2] < 100 * 2048
    assert {world.condition(name=f"s{number}")[1] for number in range(100)} == {"SecretKeyNotFound"}
