# ruff: noqa: ASYNC110 - polling with a deadline is how these tests wait
"""Lease, queue, store, certificates, settings and definitions, each by itself."""

import asyncio
import copy
import json
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography import x509

from sandbox_operator.api import models
from sandbox_operator.api.crds import build_definitions
from sandbox_operator.app.application import Application
from sandbox_operator.errors import NotLeadingError, SettingsError, SpecError
from sandbox_operator.kube.lease import LeaderLease
from sandbox_operator.kube.resources import LEASES, PODS, SESSIONS
from sandbox_operator.metrics import Metrics
from sandbox_operator.pki.ca_secret import CASecret
from sandbox_operator.pki.certificates import Authority, create_authority
from sandbox_operator.session import admission, apply, status
from sandbox_operator.session.plan import deadlines, end, plan, steps
from sandbox_operator.settings import load_settings
from sandbox_operator.watch.handlers import Handlers, session_key
from sandbox_operator.watch.store import Store
from sandbox_operator.watch.work_queue import WorkQueue
from sandbox_testing.api_server import FakeKube
from tests.unit.operator.conftest import SETTINGS

KEY = ("sandboxsessions", "team", "one")


class Ticks:
    now = 0.0

    def __call__(self):
        return self.now


async def test_fault_4_a_lease_has_one_holder_and_passes_on_after_its_end():
    """A lease has one holder and passes on only after it expires."""
    kube, clock = FakeKube(), Ticks()
    first, second = (LeaderLease(kube, "system", "lease", name, lambda _: None, clock) for name in ("a", "b"))
    assert await first.step()
    assert not await second.step()
    clock.now = 3.9
    assert not await second.step()
    clock.now = 4.1
    assert await second.step()
    assert not await first.step()


async def test_a_released_lease_is_taken_at_once():
    kube = FakeKube()
    first, second = (LeaderLease(kube, "system", "lease", name, lambda _: None) for name in ("a", "b"))
    running = asyncio.create_task(first.run())
    while not first.is_leading:
        await asyncio.sleep(0)
    running.cancel()
    await first.release()
    assert not first.is_leading
    assert await second.step()
    assert kube.named(LEASES)["lease"]["spec"]["holderIdentity"] == "b"


async def test_fault_5_the_gate_closes_before_the_lease_ends_when_it_cannot_be_renewed():
    """A leader that cannot renew its lease stops writing before the lease expires."""
    kube, clock = FakeKube(), Ticks()
    lease = LeaderLease(kube, "system", "lease", "a", lambda _: None, clock)
    running = asyncio.create_task(lease.run())
    while not lease.is_leading:
        await asyncio.sleep(0)
    running.cancel()
    clock.now = 2.9
    assert lease.is_leading
    clock.now = 3.1
    assert not lease.is_leading


async def test_a_renewal_without_an_answer_is_logged_with_its_reason(monkeypatch, caplog):
    monkeypatch.setattr("sandbox_operator.kube.lease._CALL_TIMEOUT", 0.01)
    kube = FakeKube()
    kube.get = lambda *_: asyncio.Event().wait()
    running = asyncio.create_task(LeaderLease(kube, "system", "lease", "a", lambda _: None).run())
    async with asyncio.timeout(5):
        while not caplog.messages:
            await asyncio.sleep(0.01)
    running.cancel()
    assert caplog.messages == ["lease not renewed: no response in time"]


async def test_a_renewal_that_came_late_is_told_as_a_loss_and_a_gain():
    kube, clock, told = FakeKube(), Ticks(), []
    lease = LeaderLease(kube, "system", "lease", "a", told.append, clock)
    running = asyncio.create_task(lease.run())
    async with asyncio.timeout(10):
        while not told:
            await asyncio.sleep(0)
        clock.now = 3.5
        while len(told) < 3:
            await asyncio.sleep(0.01)
    running.cancel()
    assert told == [True, False, True]


async def test_work_that_was_refused_for_want_of_the_lease_is_done_once_it_is_back(monkeypatch):
    monkeypatch.setattr("sandbox_operator.watch.work_queue._NOT_LEADING_RETRY", 0.01)
    seen = []

    async def work(key):
        seen.append(key)
        if len(seen) == 1:
            raise NotLeadingError("late")

    queue = WorkQueue(work, 1)
    queue.start()
    queue.add(KEY)
    async with asyncio.timeout(5):
        while len(seen) < 2:
            await asyncio.sleep(0.01)
    await queue.stop()


def test_fault_5_what_is_heard_while_a_renewal_is_late_is_worked_on_as_nobody_lists_it_again(tmp_path):
    """Events that arrive while a renewal is late are worked on afterwards."""
    kubeconfig = tmp_path / "kubeconfig"
    cluster = {"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    users = [{"name": "u", "user": {"token": "t"}}]
    kubeconfig.write_text(
        json.dumps({"current-context": "c", "clusters": [cluster], "contexts": [context], "users": users})
    )
    application, queued = Application(SETTINGS, {"KUBECONFIG": str(kubeconfig)}), []
    application._controller = SimpleNamespace(enqueue=queued.append, start=lambda _: None, pause=queued.clear)
    application._handlers.handle(SESSIONS, "ADDED", make(1, "follower"))
    assert queued == []
    application._on_leading(leading=True)
    # The gate, by the clock: a lease that was never taken, or is not renewed yet.
    assert not application._lease.is_leading
    application._handlers.handle(SESSIONS, "ADDED", make(2, "late"))
    assert set(queued) == {session_key("team", "late")}
    application._on_leading(leading=False)
    application._handlers.handle(SESSIONS, "ADDED", make(3, "lost"))
    assert queued == []


async def test_the_queue_works_on_a_key_serially_and_once_more_when_it_changed_meanwhile():
    running, runs, gate = 0, [], asyncio.Event()

    async def work(key):
        nonlocal running
        running += 1
        assert running == 1
        runs.append(key)
        await gate.wait()
        running -= 1

    queue = WorkQueue(work, 4)
    queue.start()
    queue.add(KEY)
    while not runs:
        await asyncio.sleep(0)
    for _ in range(3):
        queue.add(KEY)
    gate.set()
    while len(runs) < 2 or running:
        await asyncio.sleep(0)
    await queue.stop()
    assert runs == [KEY, KEY]


async def test_a_key_that_was_added_before_its_works_look_is_not_worked_on_once_more():
    runs, late = [], iter([False, True])

    async def work(key):
        runs.append(key)
        queue.add(key)
        queue.acknowledge(key)
        if next(late, False):
            queue.add(key)

    queue = WorkQueue(work, 1)
    queue.start()
    for expected in (1, 3):
        queue.add(KEY)
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(runs) == expected
    await queue.stop()


async def test_fault_8_a_key_that_fails_is_tried_again_and_others_go_on():
    """A key that fails is retried with a backoff, and the others continue."""
    seen = []

    async def work(key):
        seen.append(key[2])
        if key[2] == "bad" and seen.count("bad") < 2:
            raise ValueError("poison")

    queue = WorkQueue(work, 1)
    queue.start()
    queue.add(("k", "n", "bad"))
    queue.add(("k", "n", "good"))
    async with asyncio.timeout(5):
        while seen.count("bad") < 2:
            await asyncio.sleep(0.01)
    await queue.stop()
    assert seen == ["bad", "good", "bad"]


async def test_the_earlier_of_two_times_for_a_key_wins():
    seen = asyncio.Event()

    async def work(_):
        seen.set()

    queue = WorkQueue(work, 1)
    queue.start()
    queue.add_after(KEY, 0.0)
    queue.add_after(KEY, 3600.0)
    async with asyncio.timeout(5):
        await seen.wait()
    await queue.stop()


def make(version, name="one", uid="u"):
    return {"metadata": {"name": name, "namespace": "team", "resourceVersion": str(version), "uid": uid}}


def test_fault_17_the_answer_of_a_write_that_comes_after_the_event_of_the_deletion_brings_nothing_back():
    """A write's response that arrives after the deletion's event brings nothing back."""
    store = Store()
    handlers = Handlers(store, lambda _: None, Metrics(), "default")
    handlers.handle(SESSIONS, "ADDED", make(5, uid="first"))
    handlers.handle(SESSIONS, "DELETED", make(7, uid="first"))
    assert not store.put(SESSIONS, make(6, uid="first"))
    assert store.get(SESSIONS, ("team", "one")) is None
    assert store.put(SESSIONS, make(8, uid="second"))
    handlers.handle(SESSIONS, "DELETED", make(7, uid="first"))
    assert store.get(SESSIONS, ("team", "one"))["metadata"]["uid"] == "second"


def test_the_store_keeps_the_newest_and_drops_ghosts_but_not_what_is_newer_than_the_list():
    store = Store()
    assert store.put(SESSIONS, make(5))
    assert not store.put(SESSIONS, make(4))
    store.put(SESSIONS, make(20, "younger"))
    store.put(SESSIONS, make(7, "ghost"))
    listing = store.begin_listing(SESSIONS)
    assert listing.add([make(5)], "10") == []
    assert [raw["metadata"]["name"] for raw in listing.add([make(6, "unseen")], "10")] == ["unseen"]
    assert store.get(SESSIONS, ("team", "ghost"))
    assert [raw["metadata"]["name"] for raw in listing.finish()] == ["ghost"]
    store.remove(SESSIONS, make(6, "unseen"))
    assert [raw["metadata"]["name"] for raw in store.all(SESSIONS)] == ["one", "younger"]


def test_a_late_deletion_of_a_former_pod_does_not_remove_the_new_one():
    store = Store()
    store.put(PODS, make(9, uid="new"))
    assert not store.remove(PODS, make(5, uid="old"))
    assert store.get(PODS, ("team", "one"))


async def test_two_replicas_that_start_together_share_one_authority():
    kube = FakeKube()
    first, second = await asyncio.gather(*(CASecret(kube, "system", "ca", lambda: True).load() for _ in range(2)))
    assert first.pem == second.pem


def test_certificates_have_the_contracts_names():
    now = datetime.now(UTC)
    authority = Authority(create_authority(now))
    server = x509.load_pem_x509_certificate(authority.sign_server("p.team.sandboxsessions.dev", now).certificate)
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["p.team.sandboxsessions.dev"]
    client = x509.load_pem_x509_certificate(authority.sign_operator(now).certificate)
    assert client.subject.rfc4514_string() == "CN=sandbox-operator"
    client.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.pem))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WORKERS", "0"),
        ("STORAGE_CIDRS", "x"),
        ("TYPO", "1"),
        ("STORAGE_STS_ROLE_ARN", "arn:aws:iam::1:role/r"),
        ("POD_LABELS", "a"),
    ],
)
def test_a_wrong_setting_is_named(name, value):
    with pytest.raises(SettingsError, match=name):
        load_settings({f"SANDBOX_OPERATOR_{name}": value})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("STORAGE_CIDRS", "x", "STORAGE_CIDRS: 'x' does not appear to be an IPv4 or IPv6 network"),
        ("NO_SUCH", "1", "NO_SUCH: there is no such setting"),
        (
            "STORAGE_CREDENTIALS",
            "sts",
            "STORAGE_CREDENTIALS=sts needs STORAGE_BUCKET and STORAGE_STS_ROLE_ARN",
        ),
    ],
)
def test_the_message_about_a_wrong_setting_begins_with_its_variable(name, value, message):
    with pytest.raises(SettingsError) as caught:
        load_settings({f"SANDBOX_OPERATOR_{name}": value})
    assert str(caught.value) == f"SANDBOX_OPERATOR_{message}"


def test_lists_and_labels_are_read_from_the_environment():
    settings = load_settings(
        {
            "SANDBOX_OPERATOR_STORAGE_CIDRS": "10.0.0.1/32, 10.0.0.2/32",
            "SANDBOX_OPERATOR_POD_LABELS": "a=b,c=d",
            "SANDBOX_OPERATOR_FAULT_KILL_AT": "1",
        }
    )
    assert settings.storage_cidrs == ("10.0.0.1/32", "10.0.0.2/32")
    assert settings.pod_labels == {"a": "b", "c": "d"}


@pytest.mark.parametrize(
    ("definition", "model"),
    [
        ("sandboxsessions.yaml", models.SessionSpec),
        ("sandboxtemplates.yaml", models.TemplateSpec),
        ("sandboxwarmpools.yaml", models.PoolSpec),
    ],
)
def test_every_field_of_a_definition_is_parsed_and_the_other_way_round(definition, model):
    version = build_definitions()[definition]["spec"]["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert set(schema["properties"]) == {field.alias for field in model.model_fields.values()}


def walk(schema):
    yield schema
    parts = [*schema.get("properties", {}).values(), schema.get("items"), schema.get("additionalProperties")]
    for part in filter(None, parts):
        yield from walk(part)


@pytest.mark.parametrize(("name", "definition"), build_definitions().items())
def test_every_schema_is_structural_and_bounded(name, definition):
    bounds = {"string": "maxLength", "array": "maxItems", "integer": "format"}
    for schema in walk(definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]):
        assert not {"$ref", "$defs", "title", "const", "allOf", "oneOf"} & schema.keys(), name
        assert schema.get("type") in {"string", "integer", "boolean", "array", "object"} or (
            schema["x-kubernetes-int-or-string"] and schema["anyOf"] == [{"type": "integer"}, {"type": "string"}]
        )
        assert {"enum", "format", bounds.get(schema.get("type"), "type")} & schema.keys() or "anyOf" in schema


def test_what_the_api_server_fills_in_is_what_the_operator_assumes():
    filled = parse_filled("sandboxsessions.yaml", models.Session)
    assumed = models.Session(metadata=filled.metadata, spec={"templateRef": {"name": "default"}})
    assert filled == assumed
    filled = parse_filled("sandboxwarmpools.yaml", models.Pool)
    assert filled == models.Pool(metadata=filled.metadata)
    filled = parse_filled("sandboxtemplates.yaml", models.Template)
    assert filled == models.Template(metadata=filled.metadata, spec={})


def parse_filled(definition, model):
    schema = build_definitions()[definition]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    metadata = {"name": "a", "namespace": "b", "uid": "c", "creationTimestamp": "2026-01-01T00:00:00Z"}
    return models.parse(model, {"metadata": metadata, "spec": fill_in({}, schema["properties"]["spec"])})


def fill_in(value, schema):
    for name, field in schema.get("properties", {}).items():
        if "default" in field:
            value.setdefault(name, copy.deepcopy(field["default"]))
        if name in value:
            fill_in(value[name], field)
    return value


def test_the_charts_definitions_are_the_generated_ones(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3] / "tools"))
    monkeypatch.setattr(sys, "argv", ["generate_crds.py", "--check"])
    import generate_crds  # noqa: PLC0415 - found only with the path above

    generate_crds.main()


def test_every_reason_is_documented():
    sources = "".join(
        Path(module.__file__).read_text() for module in (plan, end, deadlines, steps, apply, admission, status)
    )
    used = set(re.findall(r'(?:Blocked|_refusal|Condition)\(\s*(?:"[A-Z]\w+", )?"([A-Z]\w+)"', sources))
    assert {"Expired", "TemplateNotFound", "EgressNotAllowed"} <= used
    assert used - {"Failed"} <= set(status.REASONS)  # Failed: a phase on the way to a reason that is computed


def test_a_patch_removes_what_is_gone_and_keeps_lists_whole():
    old = {"a": 1, "b": {"c": 1, "d": 2}, "conditions": [1, 2]}
    new = {"b": {"c": 1, "d": 3}, "conditions": [1]}
    assert status.build_patch(old, new) == {"a": None, "b": {"d": 3}, "conditions": [1]}
    assert status.build_patch(new, new) == {}


def test_a_duration_out_of_bounds_is_refused_by_its_field():
    raw = {
        "metadata": {"name": "a", "namespace": "b", "uid": "c", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"lifecycle": {"maxLifetime": "721h"}},
    }
    with pytest.raises(SpecError, match=r"spec\.lifecycle\.maxLifetime"):
        models.parse(models.Session, raw)
