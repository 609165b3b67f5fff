"""Who calls: API keys, failures, tokens of one session, and the key of a gateway on this machine."""

import asyncio
import concurrent.futures
import dataclasses
import datetime as dt
import logging
import re
import stat

import pytest

from sandbox_client.errors import InvalidArgument, ResourceExhausted, SessionFailed, Unauthenticated
from sandbox_client.lifecycle.session_info import SessionInfo
from sandbox_gateway.access.gatekeeper import Gatekeeper
from sandbox_gateway.access.keys import ApiKey, check_key_name, from_secret, hash_key, is_key, new_key, to_secret
from sandbox_gateway.access.local_keys import LocalCredentials, LocalKeys
from sandbox_gateway.backend import Caller, GatewaySession
from sandbox_gateway.backends.limits import Rates

KEY = new_key()
STORED = ApiKey(
    name="ci",
    sha256=hash_key(KEY),
    namespace="team-a",
    templates=frozenset({"default", "python"}),
    max_sessions=3,
    per_minute=10,
    max_seconds=60.0,
    access_key_id="SBXABC",
    signing_secret="signing",
    last_used=dt.datetime(2026, 11, 30, tzinfo=dt.UTC),
)


class Keys:
    def __init__(self, *keys):
        self.keys, self.used = list(keys), []

    async def by_hash(self, sha256):
        return next((key for key in self.keys if key.sha256 == sha256), None)

    async def by_access_key_id(self, access_key_id):
        return next((key for key in self.keys if key.access_key_id == access_key_id), None)

    async def by_name(self, name):
        return next((key for key in self.keys if key.name == name), None)

    def note_use(self, key):
        self.used.append(key.name)


class Reviewer:
    asked = 0

    async def review(self, token, namespace):
        self.asked += 1
        if token != "good":
            raise Unauthenticated("bad token")
        return Caller(name="user:ada", namespace=namespace)


def session(owner="ci", namespace="team-a", uid="u1", name="s1", key_id=STORED.id):
    return GatewaySession(SessionInfo(name, namespace), {}, owner=owner, uid=uid, key_id=key_id)


def test_a_key_has_the_form_of_e2bs_and_its_secret_only_the_hash():
    assert re.fullmatch(r"e2b_[0-9a-f]{40}", KEY)
    assert is_key(KEY)
    assert not any(map(is_key, ["", KEY[:-1], KEY + "0", KEY.upper(), KEY + "\n", "e2b_" + "g" * 40]))
    assert KEY not in repr(to_secret(STORED))
    assert "signing" not in repr(STORED)


def test_a_key_survives_its_secret():
    assert from_secret(to_secret(STORED)) == STORED
    plain = ApiKey(name="b", sha256=hash_key("x"), namespace="n")
    assert from_secret(to_secret(plain)) == plain


@pytest.mark.parametrize(
    "change",
    [
        lambda secret: secret["data"].pop("sha256"),
        lambda secret: secret["data"].update(limits="!"),
        lambda secret: secret["data"].update(limits="W10="),
        lambda secret: secret["data"].update(sha256="YQ=="),
        lambda secret: secret["metadata"].pop("labels"),
        lambda secret: secret.pop("metadata"),
        lambda secret: secret.update(data=None),
    ],
)
def test_a_damaged_secret_is_no_key(change):
    secret = to_secret(STORED)
    change(secret)
    assert from_secret(secret) is None


def test_a_limit_that_cannot_be_read_makes_the_key_void():
    secret = to_secret(dataclasses.replace(STORED, max_sessions="many"))
    assert from_secret(secret) is None


@pytest.mark.parametrize("name", ["", "A", "-a", "a" * 64, "a/b", "user:ada"])
def test_a_name_that_kubernetes_refuses_is_refused(name):
    with pytest.raises(InvalidArgument):
        check_key_name(name)


async def test_a_key_is_its_caller():
    keys = Keys(STORED)
    caller = await Gatekeeper(keys, b"s").by_key(KEY, peer="1.2.3.4")
    assert caller == Caller(
        name="ci",
        namespace="team-a",
        templates=frozenset({"default", "python"}),
        max_sessions=3,
        per_minute=10,
        max_seconds=60.0,
        key_id=STORED.id,
    )
    assert keys.used == ["ci"]


async def test_failures_are_counted_per_address_and_lock_no_valid_key_out(caplog):
    now = 0.0
    gate = Gatekeeper(Keys(STORED), b"s", clock=lambda: now)
    with caplog.at_level(logging.WARNING):
        for _ in range(20):
            with pytest.raises(Unauthenticated):
                await gate.by_key(new_key(), peer="1.2.3.4")
        with pytest.raises(ResourceExhausted, match="wait 60 s"):
            await gate.by_key("nonsense", peer="1.2.3.4")
    assert len(caplog.records) == 20
    assert not re.search(r"e2b_[0-9a-f]", caplog.text)
    assert (await gate.by_key(KEY, peer="1.2.3.4")).name == "ci"
    with pytest.raises(Unauthenticated):
        await gate.by_key("nonsense", peer="5.6.7.8")
    now = 60.1
    with pytest.raises(Unauthenticated):
        await gate.by_key("nonsense", peer="1.2.3.4")


async def test_no_token_is_reviewed_after_too_many_failures():
    reviewer = Reviewer()
    gate = Gatekeeper(Keys(STORED), b"s", reviewer)
    assert (await gate.by_bearer("good", peer="p", namespace="n")).name == "user:ada"
    assert (await gate.by_bearer(KEY, peer="p")).name == "ci"
    for _ in range(25):
        with pytest.raises((Unauthenticated, ResourceExhausted)):
            await gate.by_bearer("bad", peer="p")
    assert reviewer.asked == 21


async def test_a_login_that_was_right_goes_on_after_others_failures():
    gate = Gatekeeper(Keys(STORED), b"s", Reviewer())
    await gate.by_bearer("good", peer="proxy", namespace="n")
    for number in range(25):
        with pytest.raises((Unauthenticated, ResourceExhausted)):
            await gate.by_bearer(f"bad{number}", peer="proxy")
    assert (await gate.by_bearer("good", peer="proxy", namespace="n")).name == "user:ada"


async def test_tokens_at_once_are_reviewed_within_the_limit():
    class Slow(Reviewer):
        async def review(self, token, namespace):
            self.asked += 1
            await asyncio.sleep(0.01)
            raise Unauthenticated("bad token")

    reviewer = Slow()
    gate = Gatekeeper(Keys(STORED), b"s", reviewer)
    bad = (gate.by_bearer(f"bad{number}", peer="p") for number in range(50))
    results = await asyncio.gather(*bad, return_exceptions=True)
    assert reviewer.asked == 20
    assert {type(each) for each in results} == {Unauthenticated, ResourceExhausted}


async def test_right_tokens_are_no_failures():
    class All(Reviewer):
        async def review(self, token, namespace):
            return Caller(name=f"user:{token}", namespace=namespace)

    gate = Gatekeeper(Keys(STORED), b"s", All())
    for number in range(50):
        assert (await gate.by_bearer(f"t{number}", peer="p")).name == f"user:t{number}"


async def test_a_bearer_without_a_cluster_is_a_key():
    gate = Gatekeeper(Keys(STORED), b"s")
    assert (await gate.by_bearer(KEY, peer="p")).name == "ci"
    with pytest.raises(Unauthenticated):
        await gate.by_bearer("some.kubernetes.token", peer="p")


def test_a_sessions_token_is_for_one_session_and_one_purpose():
    gate = Gatekeeper(Keys(), b"secret")
    token = gate.session_token(session(), "envd")
    assert re.fullmatch(r"[0-9a-f]{64}", token)
    gate.check_session_token(session(), "envd", token)
    others = [
        session(uid="u2"),
        session(name="s2"),
        session(namespace="team-b"),
        session(owner="other"),
        session(key_id="k"),
    ]
    for other, purpose in [*((each, "envd") for each in others), (session(), "traffic")]:
        with pytest.raises(Unauthenticated):
            gate.check_session_token(other, purpose, token)
    for wrong in ("", "é", token[:-1], token.upper()):
        with pytest.raises(Unauthenticated):
            gate.check_session_token(session(), "envd", wrong)
    with pytest.raises(Unauthenticated):
        Gatekeeper(Keys(), b"other").check_session_token(session(), "envd", token)


async def test_a_sessions_token_ends_with_the_key_that_created_the_session():
    keys = Keys(STORED)
    gate = Gatekeeper(keys, b"s")
    assert (await gate.by_owner(session())).max_sessions == 3
    for owner in ("", "ci", "user:ada"):
        with pytest.raises(Unauthenticated, match="without an API key"):
            await gate.by_owner(session(owner=owner, key_id=""))
    with pytest.raises(Unauthenticated):
        await gate.by_owner(session(namespace="team-b"))
    # A new key of the same name, after the old one was leaked.
    keys.keys[:] = [dataclasses.replace(STORED, sha256=hash_key(new_key()))]
    with pytest.raises(Unauthenticated, match="revoked"):
        await gate.by_owner(session())
    assert await gate.by_owner(session(key_id=keys.keys[0].id)) == keys.keys[0].caller
    keys.keys.clear()
    with pytest.raises(Unauthenticated, match="revoked"):
        await gate.by_owner(session())


def test_sessions_per_minute_are_bounded():
    now = 0.0
    rates, caller = Rates(lambda: now), Caller(name="me", per_minute=2)
    rates.count(Caller(name="me"))
    rates.count(caller)
    now = 10.5
    rates.count(caller)
    with pytest.raises(ResourceExhausted, match="wait 50 s"):
        rates.count(caller)
    rates.count(dataclasses.replace(caller, name="other"))
    now = 60.0
    rates.count(caller)
    with pytest.raises(ResourceExhausted, match="0 sessions in a minute"):
        rates.count(dataclasses.replace(caller, per_minute=0))


def test_the_key_of_this_machine_is_made_once(tmp_path):
    path = tmp_path / "deep" / "gateway.json"
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        loaded = set(pool.map(LocalCredentials.load, [path] * 8))
    assert len(loaded) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["gateway.json"]
    [credentials] = loaded
    gate = Gatekeeper(LocalKeys(credentials), b"s")
    assert asyncio.run(gate.by_key(credentials.api_key, peer="p")) == Caller(
        name="local", key_id=ApiKey(name="local", sha256=hash_key(credentials.api_key)).id
    )
    assert credentials.api_key not in repr(credentials)


def test_a_file_that_others_may_read_is_refused(tmp_path):
    path = tmp_path / "gateway.json"
    LocalCredentials.load(path)
    path.chmod(0o640)
    with pytest.raises(SessionFailed, match="others may read"):
        LocalCredentials.load(path)
    path.chmod(0o600)
    path.write_text("{}")
    with pytest.raises(SessionFailed, match="damaged"):
        LocalCredentials.load(path)
