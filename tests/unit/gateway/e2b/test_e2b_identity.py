"""Ids, hosts and signatures of E2B's protocol."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox_client.lifecycle.session_info import SessionInfo
from sandbox_gateway.doors.e2b import identity
from sandbox_gateway.doors.e2b.identity import Target, read_target, split_id

ID = identity.sandbox_id
LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,18}[a-z0-9])?", fullmatch=True) | st.from_regex(
    r"[a01](-{0,3}[a01]){0,4}", fullmatch=True
)


def test_an_id_contains_the_namespace_of_a_cluster():
    assert ID(SessionInfo("demo", namespace="team")) == "demo--team"
    assert ID(SessionInfo("x", namespace="team--a")) == "x--team--a--1"
    assert ID(SessionInfo("a--b")) == "a--b----4"
    assert ID(SessionInfo("local/demo")) == ID(SessionInfo("demo")) == "demo"


@given(LABEL, st.just("") | LABEL)
def test_an_id_leads_back_to_its_session(name, namespace):
    assert split_id(ID(SessionInfo(name, namespace=namespace))) == (namespace, name)


@given(st.text("a01-", max_size=16))
def test_what_is_no_id_leads_to_no_session(identifier):
    namespace, name = split_id(identifier)
    assert (namespace, name) == ("", "") or ID(SessionInfo(name, namespace=namespace)) == identifier


def test_an_id_is_a_part_of_hosts():
    long = "a" * 63
    assert identity._ID.fullmatch(ID(SessionInfo(long, namespace=long)))
    assert identity._ID.fullmatch(ID(SessionInfo("a--" + "b" * 60, namespace=long)))


@given(LABEL, LABEL, st.integers(1, 65535))
def test_a_host_leads_to_the_session_and_the_port_of_its_own(name, namespace, port):
    identifier = ID(SessionInfo(name, namespace=namespace))
    for host in (f"{port}-{identifier}.sandboxes.example", f"{port}-{identifier.upper()}.localhost:8700"):
        assert read_target({}, host, "/health") == Target(identifier, port)


@given(st.text(max_size=80), st.text(max_size=80), st.text(max_size=10))
def test_any_host_and_header_leads_to_one_valid_id_or_none(host, identifier, port):
    target = read_target({"e2b-sandbox-id": identifier, "e2b-sandbox-port": port}, host, "/x")
    assert target is None or (set(target.sandbox_id) <= set(identity._ALPHABET) | {"-"} and 0 <= target.port <= 65535)


@pytest.mark.parametrize(
    ("headers", "host", "path", "expected"),
    [
        ({"e2b-sandbox-id": "a", "e2b-sandbox-port": "49999"}, "x", "/execute", Target("a", 49999)),
        ({"e2b-sandbox-id": "a"}, "x", "/health", Target("a", 49983)),
        # Headers count more than the host: one address may serve everything.
        ({"e2b-sandbox-id": "a"}, "49983-b.x", "/health", Target("a", 49983)),
        ({"e2b-sandbox-id": "a", "x-api-key": "k"}, "x", "/sandboxes/a/connect", None),
        ({"e2b-sandbox-id": "a", "x-api-key": "k"}, "x", "/files", Target("a", 49983)),
        ({"e2b-sandbox-id": "../a"}, "x", "/health", None),
        ({"e2b-sandbox-id": "a", "e2b-sandbox-port": "99999"}, "x", "/health", None),
        ({"e2b-sandbox-id": "a", "e2b-sandbox-port": "-1"}, "x", "/health", None),
        ({}, "api.sandboxes.example", "/v2/sandboxes", None),
        ({}, "127.0.0.1:8700", "/files", Target("", 49983)),
        ({}, "127.0.0.1:8700", "/sandboxes", None),
        ({"x-access-token": "t"}, "127.0.0.1:8700", "/process.Process/List", Target("", 49983)),
        ({"x-access-token": "t", "x-api-key": "k"}, "127.0.0.1:8700", "/sandboxes", None),
        ({}, "99999-a.x", "/", None),
    ],
)
def test_targets(headers, host, path, expected):
    assert read_target(headers, host, path) == expected


def test_names_are_random_or_follow_from_the_key():
    assert identity.new_name("a", "") != identity.new_name("a", "")
    assert identity.new_name("a", "k") == identity.new_name("a", "k")
    assert len({identity.new_name(caller, key) for caller, key in [("a", "k"), ("b", "k"), ("a", "l")]}) == 3
    # The caller and the key cannot be shifted into one another.
    assert identity.new_name("a", ":b") != identity.new_name("a:", "b")
    for name in (identity.new_name("a", ""), identity.new_name("a", "k")):
        assert identity._ID.fullmatch(name)
        assert len(name) == 16


PART = st.text(":a1", max_size=12) | st.sampled_from(["p:write:q", ":read:", "a:read:u"])
SIGNED = st.tuples(
    PART,
    st.sampled_from(["read", "write"]),
    PART,
    st.sampled_from("ab").map(lambda each: each * 64),
    st.none() | st.just(17),
)


@given(SIGNED, SIGNED)
def test_a_signature_means_one_thing(one, other):
    if identity.is_signable(one[2]) and identity.is_signable(other[2]):
        assert (identity.sign(*one) == identity.sign(*other)) == (one == other)


def test_a_signature_is_that_of_the_sdks():
    digest = hashlib.sha256(b"dir/a b.txt:read:user:token:1700000000").digest()
    expected = "v1_" + base64.b64encode(digest).decode().rstrip("=")
    assert identity.sign("dir/a b.txt", "read", "user", "token", 1700000000) == expected
    without = hashlib.sha256(b"a:write::token").digest()
    assert identity.sign("a", "write", "", "token", None) == "v1_" + base64.b64encode(without).decode().rstrip("=")
