"""Rows 42 and 45: there is no field for what would weaken a session's isolation, or choose where files go."""

import pytest

from sandbox_operator.api.crds import build_definitions, build_schema
from sandbox_operator.api.models import Pool, Session, Template, parse
from sandbox_operator.errors import Blocked, NotFoundError, SpecError
from sandbox_operator.kube.resources import SECRETS
from sandbox_operator.manifests.network_policy import build_network_policy
from sandbox_operator.manifests.template_parts import check_metadata
from sandbox_operator.session.admission import check_env, choose_egress, choose_resources
from sandbox_operator.settings import Settings
from tests.support.forbidden_fields import ADMINISTRATOR, POD, STORAGE

METADATA = {"name": "n", "namespace": "ns", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"}
# A template's `volumes` are the sizes of three directories.
FORBIDDEN = {
    Session: {**POD, **ADMINISTRATOR, **STORAGE},
    Template: {name: value for name, value in {**POD, **STORAGE}.items() if name != "volumes"},
    Pool: {**POD, **ADMINISTRATOR, **STORAGE},
}
SETTABLE = {
    Session: {"templateRef", "env", "resources", "workspace", "lifecycle", "suspended", "egress"},
    Template: {*ADMINISTRATOR, "imagePullPolicy", "resources", "egress", "env", "lifecycle", "volumes"},
    Pool: {"templateRef", "replicas"},
}
CASES = [(model, path) for model, fields in FORBIDDEN.items() for path in fields]


@pytest.mark.parametrize(("model", "path"), CASES, ids=lambda value: getattr(value, "__name__", value))
def test_attack_42_and_45_there_is_no_such_field(model, path):
    schema = build_schema(model)["properties"]["spec"]
    *parents, last = path.split(".")
    for part in parents:
        schema = schema["properties"].get(part, {"properties": {}})
    assert last not in schema["properties"]


@pytest.mark.parametrize("model", SETTABLE, ids=lambda model: model.__name__)
def test_attack_42_every_field_that_exists_is_known_here(model):
    """A field that is added has to be thought about: may a tenant, or an administrator, set it?"""
    assert set(build_schema(model)["properties"]["spec"]["properties"]) == SETTABLE[model]


@pytest.mark.parametrize("name", build_definitions())
def test_attack_42_unknown_fields_are_pruned_everywhere(name):
    def find(schema, path):
        for key in ("x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"):
            if key in schema:
                yield f"{path}: {key}"
        if schema.get("type") == "object" and not {"properties", "additionalProperties"} & schema.keys():
            yield f"{path}: any fields"
        for part, inner in schema.get("properties", {}).items():
            yield from find(inner, f"{path}.{part}")
        for key in ("items", "additionalProperties"):
            if isinstance(schema.get(key), dict):
                yield from find(schema[key], f"{path}[]")

    definition = build_definitions()[name]
    assert "preserveUnknownFields" not in definition["spec"]
    assert list(find(definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"], "")) == []


def make_session(**spec):
    return parse(Session, {"metadata": METADATA, "spec": spec})


def make_template(**spec):
    return parse(Template, {"metadata": METADATA, "spec": spec})


@pytest.mark.parametrize(
    ("session", "template", "field"),
    [
        ({"egress": "Public"}, {}, "spec.egress"),
        ({"egress": "Allowlist"}, {}, "spec.egress"),
        ({"resources": {"limits": {"cpu": "2"}}}, {}, "spec.resources.limits.cpu"),
        ({"resources": {"requests": {"cpu": "1m"}}}, {}, "spec.resources.requests.cpu"),
        (
            {"resources": {"limits": {"memory": "2Gi"}}},
            {"resources": {"maximum": {"memory": "1Gi"}}},
            "spec.resources.limits.memory",
        ),
        (
            {"resources": {"limits": {"nvidia.com/gpu": "1"}}},
            {"resources": {"maximum": {"cpu": "1"}}},
            "spec.resources.limits.nvidia.com/gpu",
        ),
        ({"env": [{"name": "SANDBOX_PRELOAD_STORAGE", "value": "{}"}]}, {}, "spec.env.0.name"),
        ({"env": [{"name": "LD_PRELOAD", "value": "x"}]}, {"env": {"forbidden": ["LD_*"]}}, "spec.env.0.name"),
        (
            {"env": [{"name": "A", "secretKeyRef": {"name": "other", "key": "k"}}]},
            {"env": {"allowedSecrets": ["mine-*"]}},
            "spec.env.0.secretKeyRef.name",
        ),
        *(
            (
                {"env": [{"name": "A", "secretKeyRef": {"name": name, "key": "k"}}]},
                {"env": {"allowedSecrets": allowed}},
                "spec.env.0.secretKeyRef.name",
            )
            for name in (
                "../../theirs/secrets/theirs",
                "mine-/../theirs",
                "mine-x?watch=1",
                "mine-%2e%2e",
                "..",
                "",
                "mine-\n",
            )
            for allowed in (["*"], ["mine-*"])
        ),
    ],
)
def test_attack_42_what_a_session_asks_beyond_its_template_is_refused_by_field(session, template, field):
    asked, given = make_session(**session), make_template(**template)
    with pytest.raises(Blocked, match=f"^{field}: "):
        choose_egress(asked, given), choose_resources(asked, given), check_env(asked, given)


@pytest.mark.parametrize("name", ["../../theirs/secrets/theirs", "..", ".", "a/b", "a%2Fb", "a?watch=1", "a#b", "a\\b"])
def test_attack_46_no_name_leads_the_operator_to_another_object(name):
    with pytest.raises(NotFoundError, match="cannot exist"):
        SECRETS.path("ns", name)
    with pytest.raises(NotFoundError, match="cannot exist"):
        SECRETS.path(name, "theirs")
    assert SECRETS.path("ns", "a.b-c..d") == "/api/v1/namespaces/ns/secrets/a.b-c..d"


@pytest.mark.parametrize("kind", ["cpu", "memory", "ephemeral-storage"])
@pytest.mark.parametrize("value", [0, "0", "0Gi", "0.0", -1, "-1"])
def test_attack_42_a_limit_of_nothing_is_not_no_limit(kind, value):
    """Kubernetes takes a limit of 0 for none, and a session would get the whole node."""
    with pytest.raises(SpecError, match=f"spec.resources.limits: {kind} must be between"):
        make_session(resources={"limits": {kind: value}})


def use_template(spec):
    template, settings = make_template(**spec), Settings()
    check_metadata(template, settings)
    build_network_policy(template, template.spec.egress.mode, settings)


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"priorityClassName": "system-node-critical"}, "spec.priorityClassName"),
        ({"podLabels": {"sandboxsessions.dev/egress": "public"}}, "spec.podLabels"),
        ({"podLabels": {"app.kubernetes.io/name": "sandbox-operator"}}, "spec.podLabels"),
        ({"podLabels": {"example.com/a": "b"}}, "spec.podLabels"),
        (
            {"podAnnotations": {"container.apparmor.security.beta.kubernetes.io/agent": "unconfined"}},
            "spec.podAnnotations",
        ),
        ({"podAnnotations": {"io.kubernetes.cri-o.Devices": "/dev/mem"}}, "spec.podAnnotations"),
        ({"podAnnotations": {"k8s.v1.cni.cncf.io/networks": "other"}}, "spec.podAnnotations"),
        ({"podAnnotations": {"sandboxsessions.dev/origin": "x"}}, "spec.podAnnotations"),
        ({"resources": {"extended": {"kubernetes.io/x": 1}}}, "spec.resources.extended"),
        (
            {"mounts": [{"name": "m", "mountPath": "/proc", "emptyDir": {"sizeLimit": "1Gi"}}]},
            "spec.mounts.0.mountPath",
        ),
        ({"mounts": [{"name": "m", "mountPath": "/m", "hostPath": {"path": "/"}}]}, "spec.mounts.0"),
        ({"egress": {"mode": "Allowlist", "allow": [{"cidr": "169.254.169.254/32"}]}}, "spec.egress.allow.0.cidr"),
        ({"egress": {"mode": "Allowlist", "allow": [{"cidr": "10.0.0.1/32"}]}}, "spec.egress.allow.0.cidr"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_attack_42_what_not_even_an_administrators_template_may_have_is_refused_by_field(spec, field):
    with pytest.raises(SpecError, match=f"^{field}"):
        use_template(spec)
