"""A tenant's objects cost the operator bounded memory and work, however large they are."""

import base64
import functools
import json
import tracemalloc

import pytest
from aiohttp import web

from sandbox_operator.api.crds import build_schema
from sandbox_operator.api.models import Pool, Session, Template
from sandbox_operator.kube import client
from sandbox_operator.kube.connection import Connection
from sandbox_operator.kube.resources import PODS, POOLS, SECRETS, SESSIONS, TEMPLATES
from sandbox_operator.kube.write_hook import WriteHook
from sandbox_operator.session.admission import MAX_ENV_BYTES, MAX_SECRETS, MAX_VALUE_BYTES
from sandbox_operator.session.event_recorder import EventRecorder
from sandbox_operator.watch.handlers import session_key
from sandbox_operator.watch.store import Store
from tests.unit.operator.conftest import NAMESPACE

KIB = 1024
ETCD = 1536 * KIB
"""Bytes of one object that the API server stores."""


def largest(schema, scale, number=0):  # noqa: PLR0911 - one return per type
    """Build the largest value that a schema admits, with a part of the items of its lists.

    Its texts need three bytes a character.
    """
    if "enum" in schema:
        return max(schema["enum"], key=len)
    if schema.get("x-kubernetes-int-or-string"):
        return "9" * 20 + "Gi"
    match schema["type"]:
        case "string":
            return f"{number:04}" + "€" * (schema.get("maxLength", 64) - 4)
        case "integer":
            return schema.get("maximum", 2**31 - 1)
        case "boolean":
            return True
        case "array":
            return [largest(schema["items"], scale, index) for index in range(max(1, int(schema["maxItems"] * scale)))]
    if "additionalProperties" in schema:
        value = schema["additionalProperties"]
        return {f"{index:063}": largest(value, scale) for index in range(schema["maxProperties"])}
    return {name: largest(part, scale, number) for name, part in schema.get("properties", {}).items()}


def inflate(metadata):
    """Add the labels, annotations, owners and finalizers that anyone who may edit an object can add."""
    owners = [{"apiVersion": "v1", "kind": "ConfigMap", "name": f"n{n:060}", "uid": f"{n:036}"} for n in range(2000)]
    return {
        **metadata,
        "labels": {f"example.com/{n:060}": f"{n:063}" for n in range(2000)},
        "annotations": {"example.com/large": "x" * 250 * KIB, "sandboxsessions.dev/suspended-by": "y" * 250 * KIB},
        "ownerReferences": owners,
        "finalizers": [f"example.com/{n:060}" for n in range(2000)],
        "managedFields": [{"manager": f"{n:060}", "fieldsV1": {}} for n in range(1000)],
    }


@functools.cache
def body(model):
    """Build the largest spec and status of a kind that the API server stores, as JSON."""
    schema, found = build_schema(model)["properties"], "{}"
    for percent in range(1, 101):
        raw = {name: largest(schema[name], percent / 100) for name in ("spec", "status") if name in schema}
        text = json.dumps(raw, ensure_ascii=False)
        if len(text.encode()) > ETCD:
            break
        found = text
    return found


def build(kind, model, number):
    """Build the largest object of a kind. Its metadata come on top."""
    metadata = {"name": f"n{number}", "namespace": NAMESPACE, "uid": f"u{number}", "resourceVersion": str(number + 1)}
    metadata["creationTimestamp"] = "2026-01-01T00:00:00Z"
    return {"kind": kind.kind, "metadata": inflate(metadata), **json.loads(body(model))}


def huge_pod(number):
    containers = [{"name": f"c{n:060}", "image": "i" * 1000} for n in range(200)]
    containers += [{"name": name, "image": "i" * 1000} for name in ("agent", "sandbox")]
    metadata = {"name": f"n{number}", "namespace": NAMESPACE, "uid": f"u{number}", "resourceVersion": str(number + 1)}
    statuses = [
        {**each, "state": {"waiting": {"reason": "r" * 300, "message": "m" * 4000}}, "restartCount": 1}
        for each in containers
    ]
    status = {"phase": "Pending", "message": "m" * 100 * KIB, "containerStatuses": statuses}
    return {"metadata": inflate(metadata), "spec": {"containers": containers}, "status": status}


@pytest.mark.parametrize(
    ("kind", "make", "kept"),
    [
        (SESSIONS, lambda n: build(SESSIONS, Session, n), 64 * KIB),
        (TEMPLATES, lambda n: build(TEMPLATES, Template, n), 4 * KIB),
        (POOLS, lambda n: build(POOLS, Pool, n), 56 * KIB),
        (PODS, huge_pod, 16 * KIB),
    ],
    ids=["sessions", "templates", "pools", "pods"],
)
def test_the_store_keeps_a_bounded_part_of_the_largest_object(kind, make, kept):
    assert len(json.dumps(make(0), ensure_ascii=False).encode()) > 1000 * KIB
    store, count = Store(), 20
    texts = [json.dumps(make(number)) for number in range(count)]
    tracemalloc.start()
    try:
        for text in texts:
            store.put(kind, json.loads(text))
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert store.count(kind) == count
    assert size / count < kept


async def test_many_references_to_one_large_secret_are_refused_with_constant_work(world):
    fetched = count_reads(world)
    world.add_template()
    data = {"k": base64.b64encode(b"x" * 900_000).decode()}
    world.kube.put(SECRETS, NAMESPACE, {"metadata": {"name": "large"}, "data": data})
    env = [{"name": f"V{n}", "secretKeyRef": {"name": "large", "key": "k"}} for n in range(250)]
    tracemalloc.start()
    try:
        world.add_session(env=env)
        await world.settle()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 * 1024 * KIB
    assert world.condition()[1:] == (
        "EnvNotAllowed",
        f"spec.env.0.secretKeyRef: V0 has more than {MAX_VALUE_BYTES} bytes; put it into a file of the workspace",
    )
    assert world.status()["phase"] == "Failed"
    assert fetched == ["large"]
    assert world.agents.requests == []


async def test_a_refused_session_is_tried_again_ever_more_rarely_whatever_its_owner_does(world):
    fetched = count_reads(world)
    world.add_template()
    world.add_session(env=[{"name": "A", "secretKeyRef": {"name": "none", "key": "k"}}])
    await world.settle()
    waits, key = [], session_key(NAMESPACE, "one")
    for number in range(6):
        for poke in range(5):
            world.kube.change(SESSIONS, NAMESPACE, "one", {"metadata": {"annotations": {"poke": f"{number}-{poke}"}}})
            await world.settle()
        assert len(fetched) == number + 1
        waits.append(round(world.operator.later[key]))
        world.clock.advance(seconds=waits[-1] + 1)
        world.operator._enqueue(key)
        await world.settle()
    assert waits == [5, 10, 20, 30, 30, 30]


async def test_a_change_of_the_session_ends_the_wait(world):
    world.add_template()
    world.add_session(env=[{"name": "A", "secretKeyRef": {"name": "none", "key": "k"}}])
    await world.settle()
    world.kube.change(SESSIONS, NAMESPACE, "one", {"spec": {"env": []}})
    await world.settle()
    assert world.status()["phase"] == "Ready"


async def test_too_many_secrets_are_refused_before_the_first_is_fetched(world):
    fetched = count_reads(world)
    world.add_template()
    names = [f"s{n}" for n in range(MAX_SECRETS + 1)]
    world.add_session(env=[{"name": n.upper(), "secretKeyRef": {"name": n, "key": "k"}} for n in names])
    await world.settle()
    assert world.condition()[1] == "EnvNotAllowed"
    assert world.condition()[2].startswith(f"spec.env.{MAX_SECRETS}.secretKeyRef.name: the environment refers to")
    assert fetched == []
    assert world.pods() == {}


@pytest.mark.parametrize("source", ["value", "secret", "template"])
async def test_an_environment_that_is_too_large_in_all_is_refused_by_its_field(world, source):
    part = "x" * (MAX_ENV_BYTES // 8)
    world.kube.put(
        SECRETS, NAMESPACE, {"metadata": {"name": "mine"}, "data": {"k": base64.b64encode(part.encode()).decode()}}
    )
    plain = [{"name": f"V{n}", "value": part} for n in range(9)]
    secret = [{"name": f"V{n}", "secretKeyRef": {"name": "mine", "key": "k"}} for n in range(9)]
    world.add_template(**({"env": {"defaults": plain[:3]}} if source == "template" else {}))
    world.add_session(env={"value": plain, "secret": secret, "template": secret[3:]}[source])
    await world.settle()
    index = 4 if source == "template" else 7
    field = "value" if source == "value" else "secretKeyRef"
    assert world.condition()[1:] == (
        "EnvNotAllowed",
        f"spec.env.{index}.{field}: the environment has more than {MAX_ENV_BYTES} bytes",
    )


async def test_a_large_environment_that_is_allowed_reaches_the_agent_whole(world):
    world.add_template()
    env = [{"name": f"V{n}", "value": "x" * 1000} for n in range(256)]
    world.add_session(env=env, workspace={"exclude": ["*.tmp"]})
    await world.settle()
    (request,) = world.agents.requests
    assert dict(request.env) == {each["name"]: each["value"] for each in env}
    assert list(request.workspace.exclude) == ["*.tmp"]
    assert world.status()["phase"] == "Ready"


async def test_forbidden_names_of_a_large_environment_are_refused_before_a_pod(world):
    world.add_template(env={"forbidden": ["LD_*"]})
    world.add_session(env=[{"name": "LARGE", "value": "x" * 30_000}, {"name": "LD_PRELOAD", "value": "x"}])
    await world.settle()
    assert world.condition()[1] == "EnvNotAllowed"
    assert world.pods() == {}


async def test_a_template_that_is_too_large_is_refused_and_a_smaller_one_is_taken(world):
    world.add_template(env={"defaults": [{"name": f"V{n}", "value": "x" * 32_000} for n in range(9)]})
    world.add_session()
    await world.settle()
    assert world.condition()[1] == "TemplateInvalid"
    assert "spec: has more than 262144 characters" in world.condition()[2]
    world.kube.change(TEMPLATES, NAMESPACE, "default", {"spec": {"env": {"defaults": []}}})
    world.clock.advance(minutes=2)
    await world.operator.list_all()
    await world.settle()
    assert world.status()["phase"] == "Ready"


async def test_many_sessions_that_name_one_workspace_are_planned_quickly(world):
    world.add_template()
    for number in range(300):
        world.add_session(f"s{number}", workspace={"name": "shared"})
    await world.settle()
    assert [world.status(f"s{n}")["phase"] for n in range(300)].count("Ready") == 1


@pytest.mark.parametrize("suspended", [True, False], ids=["suspended", "waiting"])
async def test_sessions_of_one_workspace_cost_no_more_than_those_of_many(world, monkeypatch, suspended):
    """Each change of one woke all the others, so a few hundred kept the operator from everything else."""
    world.add_template()
    count, keys, work = 60, [], world.operator.work

    async def note(key):
        keys.append(key)
        await work(key)

    monkeypatch.setattr(world.operator, "work", note)
    for number in range(count):
        world.add_session(f"s{number}", suspended=suspended, workspace={"name": "shared"})
    await world.settle()
    for number in range(20):
        world.kube.change(SESSIONS, NAMESPACE, "s7", {"metadata": {"annotations": {"poke": str(number)}}})
        await world.settle()
    assert len(keys) < 8 * count


async def test_the_session_that_waited_longest_gets_the_workspace(world):
    world.add_template()
    for number in (3, 1, 2):
        world.add_session(f"s{number}", workspace={"name": "shared"})
        await world.settle()
        world.clock.advance(seconds=1)
    assert [world.status(f"s{n}")["phase"] for n in (3, 1, 2)] == ["Ready", "Pending", "Pending"]
    for ended, following in ((3, 1), (1, 2)):
        world.kube.change(SESSIONS, NAMESPACE, f"s{ended}", {"spec": {"suspended": True}})
        await world.settle()
        assert world.status(f"s{following}")["phase"] == "Ready"


async def test_large_objects_are_listed_in_smaller_pages(monkeypatch):
    monkeypatch.setattr(client, "_MAX_ANSWER", 100_000)
    objects = [{"metadata": {"name": f"n{n}", "annotations": {"a": "x" * 30_000}}} for n in range(8)]
    objects += [{"metadata": {"name": f"n{n}"}} for n in range(8, 300)]
    sizes = []

    async def answer(request):
        size, first = int(request.query["limit"]), int(request.query.get("continue", 0))
        sizes.append(size)
        rest = {"continue": str(first + size)} if first + size < len(objects) else {}
        items = objects[first : first + size]
        return web.json_response({"metadata": {"resourceVersion": "7", **rest}, "items": items})

    application = web.Application()
    application.router.add_get(SESSIONS.path(), answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with client.KubeClient(Connection(url, tls=True), WriteHook()) as api:
            names = [item["metadata"]["name"] async for page, _ in api.pages(SESSIONS, None) for item in page]
    finally:
        await runner.cleanup()
    assert names == [f"n{n}" for n in range(300)]
    assert sizes[:4] == [100, 25, 6, 1]
    assert 100 in sizes[4:]


async def test_a_flood_of_events_keeps_a_bounded_memory_of_them(world):
    await world.start()
    recorder = EventRecorder(world.kube)
    session = Session.model_validate(world.session())
    for number in range(12_000):
        recorder.record(session, "Reason", f"message {number}")
    assert len(recorder._recent) <= 10_000
    assert recorder._queue.qsize() <= 1000


def count_reads(world):
    """Record the names of the Secrets that the operator reads, without its own."""
    reads, real = [], world.kube.get

    async def get(resource, namespace, name):
        if resource is SECRETS and not name.endswith("-access"):
            reads.append(name)
        return await real(resource, namespace, name)

    world.kube.get = get
    return reads
