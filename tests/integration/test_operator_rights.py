"""The operator as it runs needs nothing beyond the Role that the chart gives it in a watched namespace."""

import re
from pathlib import Path

import yaml

from sandbox_operator.kube.resources import SESSIONS
from tests.support.api_server import refusal
from tests.support.running_operator import RunningOperator
from tests.unit.operator.conftest import NAMESPACE

ROOT = Path(__file__).parents[2]
VERBS = {"GET": "get", "POST": "create", "PATCH": "patch", "DELETE": "delete"}


def read_rules():
    """Return what the chart's two Roles allow, as group, resource and verb."""
    text = (ROOT / "deploy/helm/sandbox-operator/templates/rbac.yaml").read_text(encoding="utf-8")
    session, own = re.search(r"\nrules:\n((?:  - .*\n)+)", text)[1], text.partition("own namespace, for the lease")[2]
    own = re.search(r"\nrules:\n((?:  - .*\n)+)", own)[1].replace("{{ $name }}", "name")
    found = []
    for part in (session, own):
        rules = yaml.safe_load(part)
        found.append(
            {(g, r, v) for rule in rules for g in rule["apiGroups"] for r in rule["resources"] for v in rule["verbs"]}
        )
    return found


def describe(request):
    """Return group, resource, verb and namespace of a request, or None for discovery."""
    match = re.fullmatch(
        r"/(?:api/v1|apis/([^/]+)/[^/]+)/namespaces/([^/]+)/([^/]+)(?:/([^/]+))?(?:/([^/]+))?", request.path
    )
    if match is None:
        # A kind in all namespaces, or discovery.
        wide = re.fullmatch(r"/(?:api/v1|apis/([^/]+)/[^/]+)/([^/]+)", request.path)
        return (wide[1] or "", wide[2], "list", None) if wide and request.query else None
    group, namespace, resource, name, part = match.groups()
    verb = VERBS[request.method]
    if verb == "get" and name is None:
        verb = "watch" if "watch" in request.query else "list"
    return group or "", f"{resource}/{part}" if part else resource, verb, namespace


async def test_a_session_lives_with_the_rights_of_the_namespaced_roles(tmp_path, monkeypatch):
    session, own = read_rules()
    operator = RunningOperator(tmp_path, watch_namespaces=(NAMESPACE,))
    refused, used = [], set()

    def enforce(request):
        asked = describe(request)
        if asked is None:
            return None
        *rule, namespace = asked
        allowed = {NAMESPACE: session, "system": own}.get(namespace, set())
        used.add(tuple(rule))
        if tuple(rule) in allowed:
            return None
        refused.append(asked)
        return refusal(403, "Forbidden", f"{asked} is not allowed")

    operator.server.on_request = enforce
    operator.add_session("one")
    async with operator.running(monkeypatch):
        await operator.until(lambda: operator.phase("one") == "Ready")
        operator.kube.change(SESSIONS, NAMESPACE, "one", {"spec": {"suspended": True}})
        await operator.until(lambda: operator.phase("one") == "Suspended")
    assert refused == []
    assert {("", "pods", "create"), ("", "pods", "patch"), ("", "secrets", "create")} <= used
