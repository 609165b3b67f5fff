"""The chart refuses unsafe values, and gives the operator few permissions."""

import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
CHART = ROOT / "deploy/helm/sandbox-operator"
STORAGE = ("storage.bucket=b", "storage.cidrs={203.0.113.0/24}", "storage.existingSecret=keys")
ROLE = "storage.sts.roleArn=arn:minio:iam:::role/sandboxes"
VAP = "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy"


def render(helm, *values, capabilities=()):
    command = [helm, "template", "sandbox-operator", str(CHART), "--namespace", "sandbox-system"]
    for value in ("images.registry=localhost", *values):
        command += ["--set", value]
    for each in capabilities:
        command += ["--api-versions", each]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        return done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def environment(objects):
    (deployment,) = [each for each in objects if each["kind"] == "Deployment"]
    return {each["name"]: each.get("value") for each in deployment["spec"]["template"]["spec"]["containers"][0]["env"]}


@pytest.mark.parametrize("namespaces", [(), ("watchNamespaces={a,b}",)], ids=["the whole cluster", "two namespaces"])
@pytest.mark.parametrize("chosen", [(), ("storage.credentials=static",), ("storage.credentials=static", ROLE)])
def test_shared_credentials_in_several_namespaces_are_refused_by_the_values_that_allow_them(helm, namespaces, chosen):
    if chosen[:1] == ("storage.credentials=static",):
        chosen = chosen[:1]
    error = render(helm, *STORAGE, *namespaces, *chosen)
    assert isinstance(error, str)
    for value in ("storage.sts.roleArn", "watchNamespaces", "storage.allowSharedCredentials=true"):
        assert value in error


@pytest.mark.parametrize(
    ("values", "credentials"),
    [
        ((ROLE,), "sts"),
        (("watchNamespaces={a}",), None),
        (("storage.allowSharedCredentials=true",), None),
        (("watchNamespaces={a}", ROLE), "sts"),
    ],
)
def test_credentials_are_per_session_wherever_a_role_is_named(helm, values, credentials):
    found = environment(render(helm, *STORAGE, *values))
    assert found.get("SANDBOX_OPERATOR_STORAGE_CREDENTIALS") == credentials


@pytest.mark.parametrize("cidr", ["0.0.0.0/0", "128.0.0.0/1", "10.0.0.0/7", "::/0", "2000::/3"])
def test_addresses_of_an_endpoint_that_open_nearly_everything_are_refused_by_name(helm, cidr):
    error = render(helm, *STORAGE, ROLE, f"storage.cidrs={{203.0.113.0/24,{cidr}}}")
    assert isinstance(error, str)
    assert f"storage.cidrs: {cidr} would open nearly every address" in error
    tracing = ("tracing.enabled=true", "tracing.endpoint=http://c:4317", f"tracing.cidrs={{{cidr}}}")
    error = render(helm, *tracing)
    assert isinstance(error, str)
    assert f"tracing.cidrs: {cidr} would open nearly every address" in error


def test_further_addresses_can_be_made_unreachable(helm):
    found = environment(render(helm, "neverReachable={203.0.113.10/32,2001:db8::/64}"))
    assert found["SANDBOX_OPERATOR_NEVER_REACHABLE"] == "203.0.113.10/32,2001:db8::/64"


def roles(objects, kind):
    """Names of the operator's own roles, without those for people and for hooks."""
    hooks = ("-crds-", "-doctor-", "-edit", "-admin", "-view")
    names = [each["metadata"]["name"] for each in objects if each["kind"] == kind]
    return [
        name
        for name in names
        if not any(part in f"{name}-" for part in (f"{hook}-" for hook in hooks[2:]))
        and not any(part in name for part in hooks[:2])
    ]


def test_with_watch_namespaces_the_operator_has_namespaced_roles_only(helm):
    objects = render(helm, "watchNamespaces={a,b}", "crds.upgrade=false", "doctor.test=false")
    assert roles(objects, "ClusterRole") == []
    assert [each for each in objects if each["kind"] == "ClusterRoleBinding"] == []
    found = {
        (each["metadata"].get("namespace"), each["metadata"]["name"]): each
        for each in objects
        if each["kind"] == "Role"
    }
    name = "sandbox-operator-sessions"
    assert found.keys() == {("a", name), ("b", name), (None, "sandbox-operator")}
    assert {"list", "watch"} & {
        verb for rule in found["a", name]["rules"] if "secrets" in rule["resources"] for verb in rule["verbs"]
    } == set()


WATCHED = "watchNamespaces={a,b}"
NEVER = ("escalate", "bind", "impersonate", "*", "deletecollection", "approve", "sign")
"""Verbs that let their holder take more than it was given."""
VERBS = ("get", "list", "watch", "create", "patch", "delete")
RBAC = "rbac.authorization.k8s.io"


def operator_rules(objects):
    """Yield each rule of the roles that are bound to the operator's account, hooks and tests included."""
    kinds = {(each["kind"], each["metadata"]["name"]): each for each in objects if each["kind"].endswith("Role")}
    for each in objects:
        if each["kind"].endswith("RoleBinding"):
            reference = each["roleRef"]
            for rule in kinds[reference["kind"], reference["name"]]["rules"]:
                yield reference["name"], rule


@pytest.mark.parametrize("values", [(), (WATCHED,)], ids=["the whole cluster", "two namespaces"])
def test_attack_46_no_role_of_the_operator_lets_it_take_more(helm, values):
    found = list(operator_rules(render(helm, *values)))
    assert len(found) > 5
    for name, rule in found:
        resources, verbs, groups = set(rule.get("resources", ())), set(rule["verbs"]), set(rule.get("apiGroups", ()))
        assert verbs.isdisjoint(NEVER), (name, rule)
        assert "*" not in resources | groups, (name, rule)
        assert RBAC not in groups, (name, rule)
        assert not resources & {"pods/exec", "pods/attach", "pods/ephemeralcontainers", "pods/proxy", "nodes/proxy"}
        assert not resources & {"serviceaccounts", "serviceaccounts/token", "certificatesigningrequests"}
        assert not any("webhook" in each or "admission" in each for each in resources), (name, rule)
        if "secrets" in resources:
            assert verbs <= {"get", "create", "patch"}, (name, rule)


@pytest.mark.parametrize("values", [(), (WATCHED,)], ids=["the whole cluster", "two namespaces"])
def test_attack_46_the_operators_rights_are_those_that_its_client_documents(helm, values):
    text = (ROOT / "operator/sandbox_operator/kube/client.py").read_text(encoding="utf-8")
    documented = set()
    for line in text.partition("needs:\n")[2].partition('"""\n')[0].splitlines():
        group, *words = line.partition("(")[0].split()
        verbs = [word for word in words if word in VERBS]
        documented |= {(group.strip('"'), each, verb) for each in words if each not in VERBS for verb in verbs}
    given = {
        (group, resource, verb)
        for name, rule in operator_rules(render(helm, *values, "doctor.test=false"))
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert given == documented


def test_the_admission_policies_follow_the_server_and_the_values(helm):
    kind = "ValidatingAdmissionPolicy"

    def count(*values, capabilities=()):
        return len([each for each in render(helm, *values, capabilities=capabilities) if each["kind"] == kind])

    assert count() == 0
    assert count(capabilities=[VAP]) == 8
    assert count("admissionPolicies.create=true") == 8
    assert count("admissionPolicies.create=false", capabilities=[VAP]) == 0
