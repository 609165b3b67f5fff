"""Row 39 of docs/faults.md, the certificates: how long they live, and what a CA that was replaced by hand costs."""

import base64
import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from sandbox_operator.api.models import Session, parse
from sandbox_operator.errors import SpecError
from sandbox_operator.kube.resources import SECRETS
from sandbox_operator.pki import ca_secret
from sandbox_operator.pki.certificates import Authority, create_authority
from sandbox_operator.pool.plan import PoolTiming
from tests.support.running_operator import SYSTEM, RunningOperator
from tests.support.troubled_world import TroubledWorld
from tests.unit.operator import conftest

LONGEST_SESSION = timedelta(days=30)


def ends(pem):
    return x509.load_pem_x509_certificate(pem).not_valid_after_utc


def test_fault_39_a_pods_certificate_outlives_the_longest_session_in_a_pool_pod_of_the_highest_age():
    """A pod's certificate outlives the longest session in the oldest pool pod."""
    now = datetime.now(UTC)
    authority = Authority(create_authority(now))
    pod_ends = now + PoolTiming().max_age + LONGEST_SESSION
    certificate = ends(authority.sign_server("pod.team.sandboxsessions.dev", now).certificate)
    # A pool replaces its aged pods one by one, and only while the others are ready.
    assert certificate - pod_ends >= timedelta(days=1)
    assert ends(authority.pem) - certificate > timedelta(days=9 * 365)


def test_fault_39_no_session_may_live_longer_than_that():
    """No session may be configured to live longer than its certificate."""
    world = TroubledWorld()
    body = world.add_session(lifecycle={"maxLifetime": f"{LONGEST_SESSION.days * 24 + 1}h"})
    with pytest.raises(SpecError, match=r"spec\.lifecycle\.maxLifetime"):
        parse(Session, body)


async def test_fault_39_sessions_that_slept_while_the_ca_was_replaced_wake_with_the_new_one_and_a_new_token(
    monkeypatch,
):
    """Sessions that were suspended while the CA was replaced resume with the new CA and a new token."""
    world = TroubledWorld()
    await world.start()
    world.change_session(suspended=True)
    await world.come_to_rest()
    before = world.kube.named(SECRETS)["one-access"]["data"]
    replaced = Authority(create_authority(datetime.now(UTC)))
    monkeypatch.setattr(conftest, "AUTHORITY", replaced)
    world.restart()
    world.change_session(suspended=False)
    await world.operator.list_all()
    await world.settle()
    assert world.status()["phase"] == "Ready"
    after = world.kube.named(SECRETS)["one-access"]["data"]
    assert after["ca.crt"] == base64.b64encode(replaced.pem).decode()
    assert after["token"] != before["token"]
    token = base64.b64decode(after["token"])
    assert world.agents.requests[-1].token_sha256 == hashlib.sha256(token).digest()
    assert after["ca.crt"] != before["ca.crt"]
    served = world.kube.named(SECRETS)[f"{world.pod()}-tls"]["data"]
    certificate = x509.load_pem_x509_certificate(base64.b64decode(served["tls.crt"]))
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(replaced.pem))


async def test_fault_39_the_operator_as_it_runs_begins_when_it_is_told_and_gives_new_sessions_both_cas(
    tmp_path, monkeypatch
):
    """An annotation starts the CA's rotation, and new sessions trust both CAs."""
    monkeypatch.setattr(ca_secret, "_REFRESH_SECONDS", 0.02)
    operator = RunningOperator(tmp_path)
    name = operator.settings.ca_secret

    def data(secret):
        return operator.kube.named(SECRETS)[secret]["data"]

    async with operator.running(monkeypatch):
        first = data(name)["tls.crt"]
        operator.kube.change(SECRETS, SYSTEM, name, {"metadata": {"annotations": {ca_secret.RENEW: "now"}}})
        await operator.until(lambda: "next.crt" in data(name))
        pems = [base64.b64decode(pem) for pem in (first, data(name)["next.crt"])]
        operator.add_session("one")
        await operator.until(lambda: operator.phase("one") == "Ready")
        for secret in ("one-access", f"{operator.pod('one')}-tls"):
            assert base64.b64decode(data(secret)["ca.crt"]) == b"".join(pems)
