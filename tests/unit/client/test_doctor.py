"""The doctor's checks against an API server of canned answers, and how findings are shown."""

import asyncio
import json

import pytest
from click.testing import CliRunner
from google.protobuf.duration_pb2 import Duration

from sandbox_client.cli import main
from sandbox_client.doctor import cluster_checks, network, probe_session, run
from sandbox_client.doctor.api import Answer
from sandbox_client.doctor.findings import Level, failed, format_table, has_failed, ok, skipped, to_json, warning
from sandbox_client.doctor.probe_session import ProbeSession, read_storage
from sandbox_client.doctor.stored_objects import check_stored_objects
from sandbox_client.errors import SandboxUnavailable
from sandbox_proto.v1.workspace_pb2 import CheckStorageResponse, StorageCheck

FORBIDDEN = Answer(403, {"message": "deployments is forbidden"})
NOT_FOUND = Answer(404, {"message": "not found"})
SESSIONS = "apis/sandboxsessions.dev/v1alpha1/namespaces/team/sandboxsessions"
DEFINITIONS = "apis/apiextensions.k8s.io/v1/customresourcedefinitions"


class Canned:
    """A KubeHttp that answers from a table. A list of answers is used up one by one, but for the last."""

    server = "https://api.example"
    namespace = "team"
    client = None

    def __init__(self, answers, *, is_direct=False, allowed=lambda _attributes: True):
        self.answers, self.is_direct, self.allowed = answers, is_direct, allowed
        self.calls = []

    def _answer(self, method, path):
        self.calls.append((method, path))
        found = self.answers.get(f"{method} {path}", self.answers.get(path, NOT_FOUND))
        if isinstance(found, list):
            return found.pop(0) if len(found) > 1 else found[0]
        return found

    async def get(self, *segments, **query):
        path = "/".join(segments)
        return self._answer("GET", f"{path}?continue={query['continue']}" if "continue" in query else path)

    async def post(self, body, *segments, **query):
        if query.get("dryRun") == "All":
            return self.dry_run(body)
        if segments[-1] == "selfsubjectaccessreviews":
            return Answer(201, {"status": {"allowed": self.allowed(body["spec"]["resourceAttributes"])}})
        return self._answer("POST", "/".join(segments))

    async def delete(self, *segments, **_query):
        return self._answer("DELETE", "/".join(segments))

    def dry_run(self, body):
        """Answer as a server does that checks the values first, and then finds the name taken."""
        problem = "".join(body["spec"].get("problems", []))
        if problem:
            name = body["metadata"]["name"]
            return Answer(422, {"message": f'{body["kind"]}.sandboxsessions.dev "{name}" is invalid: {problem}'})
        return Answer(409, {"message": "already exists"})


def version(name, offset=0.0):
    return Answer(200, {"gitVersion": name}, clock_offset=offset)


@pytest.mark.parametrize(
    ("answer", "level", "text"),
    [
        (version("v1.36.3"), Level.OK, "Kubernetes v1.36.3"),
        (version("v1.30.0-eks-1"), Level.OK, "v1.30.0"),
        (version("v1.29.9"), Level.FAILED, "v1.29.9"),
        (Answer(401, {"message": "Unauthorized"}), Level.FAILED, "refuses this client: Unauthorized"),
        (Answer(404, text="<html>"), Level.FAILED, "is not a Kubernetes API server: HTTP status 404"),
        (Answer(200, {}), Level.FAILED, "unknown version"),
    ],
)
async def test_the_api_server_has_to_know_us_and_to_be_new_enough(answer, level, text):
    finding = await cluster_checks.check_server(Canned({"version": answer}))
    assert (finding.level, text in finding.message) == (level, True)
    assert bool(finding.change) == (level is Level.FAILED)


@pytest.mark.parametrize(
    ("offset", "level", "text"),
    [
        (0.4, Level.OK, "0 s"),
        (-30, Level.OK, "30 s"),
        (400, Level.WARNING, "400 s ahead of"),
        (-400, Level.WARNING, "behind"),
        (None, Level.SKIPPED, "time"),
    ],
)
async def test_clocks_are_compared(offset, level, text):
    finding = await cluster_checks.check_clock(Canned({"version": version("v1.36", offset)}))
    assert (finding.level, text in finding.message) == (level, True)


def kinds(*names):
    return Answer(200, {"resources": [{"name": name} for name in names]})


@pytest.mark.parametrize(
    ("answer", "level", "text"),
    [
        (kinds("sandboxsessions", "sandboxtemplates", "sandboxwarmpools"), Level.OK, "sandboxwarmpools"),
        (kinds("sandboxsessions", "sandboxtemplates"), Level.FAILED, "no sandboxwarmpools.sandboxsessions.dev"),
        (NOT_FOUND, Level.FAILED, "sandboxsessions.sandboxsessions.dev"),
        (FORBIDDEN, Level.FAILED, "forbidden"),
    ],
)
async def test_a_missing_definition_is_named(answer, level, text):
    finding = await cluster_checks.check_definitions(Canned({"apis/sandboxsessions.dev/v1alpha1": answer}))
    assert (finding.level, text in finding.message) == (level, True)


def deployment(ready, wanted=2, number="0.2.0"):
    metadata = {"namespace": "system", "name": "op", "labels": {"app.kubernetes.io/version": number}}
    return Answer(
        200, {"items": [{"metadata": metadata, "spec": {"replicas": wanted}, "status": {"readyReplicas": ready}}]}
    )


@pytest.mark.parametrize(
    ("answer", "level", "text"),
    [
        (deployment(2), Level.OK, "system/op 0.2.0: 2 of 2"),
        (deployment(1), Level.WARNING, "1 of 2"),
        (deployment(0), Level.FAILED, "ImagePullBackOff for the image nowhere:1"),
        (Answer(200, {"items": []}), Level.FAILED, "no deployment"),
        (FORBIDDEN, Level.SKIPPED, "may not list deployments"),
    ],
)
async def test_an_operator_that_does_not_run_is_explained(answer, level, text):
    waiting = {"image": "nowhere:1", "state": {"waiting": {"reason": "ImagePullBackOff"}}}
    pods = Answer(200, {"items": [{"status": {"containerStatuses": [waiting]}}]})
    api = Canned({"apis/apps/v1/deployments": answer, "api/v1/namespaces/system/pods": pods})
    finding, _ = await cluster_checks.check_operator(api, None)
    assert (finding.level, text in finding.message) == (level, True)


@pytest.mark.parametrize(
    ("operator", "definitions", "level"),
    [("0.1.0", "0.1.0", Level.OK), ("0.2.0", "0.2.0", Level.WARNING), ("0.1.0", None, Level.WARNING)],
)
async def test_versions_are_compared(monkeypatch, operator, definitions, level):
    monkeypatch.setattr(cluster_checks, "version", lambda _name: "0.1.0")
    annotations = {"sandboxsessions.dev/version": definitions} if definitions else {}
    found = Answer(200, {"metadata": {"annotations": annotations}})
    names = ("sandboxsessions", "sandboxtemplates", "sandboxwarmpools")
    api = Canned({f"{DEFINITIONS}/{name}.sandboxsessions.dev": found for name in names})
    finding = await cluster_checks.check_versions(api, operator)
    assert finding.level is level
    assert f"CRDs {definitions or 'before 0.1.0'}" in finding.message


async def test_versions_that_nobody_may_read_are_no_failure():
    assert (await cluster_checks.check_versions(Canned({}), None)).level is Level.SKIPPED


@pytest.mark.parametrize(("wanted", "level"), [("", Level.OK), ("gvisor", Level.OK), ("kata", Level.FAILED)])
async def test_a_template_needs_its_runtime_class(wanted, level):
    template = Answer(200, {"spec": {"runtimeClassName": wanted}})
    classes = Answer(200, {"items": [{"metadata": {"name": "gvisor"}}]})
    path = "apis/sandboxsessions.dev/v1alpha1/namespaces/team/sandboxtemplates/default"
    api = Canned({path: template, "apis/node.k8s.io/v1/runtimeclasses": classes})
    first, second = await cluster_checks.check_template(api, "default")
    assert (first.level, second.level) == (Level.OK, level)
    assert "gvisor" in second.message


async def test_missing_permissions_are_listed():
    def allowed(attributes):
        return (attributes["resource"], attributes["verb"]) != ("sandboxsessions", "watch") and not attributes[
            "subresource"
        ]

    finding = await cluster_checks.check_permissions(Canned({}, allowed=allowed))
    assert finding.message.endswith("may not: watch sandboxsessions, create pods/portforward")
    direct = await cluster_checks.check_permissions(Canned({}, is_direct=True, allowed=allowed))
    assert direct.message.endswith("may not: watch sandboxsessions")


async def test_a_namespace_that_does_not_exist_is_named_and_ends_the_checks(monkeypatch):
    kinds = ("sandboxsessions", "sandboxtemplates", "sandboxwarmpools")
    api = Canned({
        "version": version("v1.36.3"),
        "apis/sandboxsessions.dev/v1alpha1": Answer(200, {"resources": [{"name": kind} for kind in kinds]}),
        "apis/apps/v1/deployments": FORBIDDEN,
    })  # fmt: skip
    monkeypatch.setattr(run, "open_api", lambda _options: api)
    finding = (await run.examine(None, run.Plan(), lambda _step: None))[-1]
    assert (finding.check, finding.level) == ("namespace", Level.FAILED)
    assert finding.message == "the cluster has no namespace team"
    assert "kubectl create namespace team" in finding.change
    assert not [path for method, path in api.calls if method == "POST"]


async def test_a_namespace_that_may_not_be_read_is_no_finding():
    assert await cluster_checks.check_namespace(Canned({"api/v1/namespaces/team": FORBIDDEN})) is None


STORED = "apis/sandboxsessions.dev/v1alpha1"


def stored(*names, problem="", token=""):
    metadata = {"namespace": "a", "uid": "u", "resourceVersion": "7"}
    spec = {"problems": [problem]} if problem else {}
    items = [{"metadata": {**metadata, "name": name}, "spec": spec, "status": {"phase": "Ready"}} for name in names]
    return Answer(200, {"metadata": {"continue": token}, "items": items})


async def test_stored_objects_that_the_definitions_refuse_are_listed_with_their_field():
    problem = 'spec.lifecycle.idleTimeout: Invalid value: "1d": must be between 1s and 720h'
    api = Canned({
        f"{STORED}/sandboxsessions": stored("good", token="next"),
        f"{STORED}/sandboxsessions?continue=next": stored("old", problem=problem),
        f"{STORED}/sandboxtemplates": stored("default", problem="spec.image: Required value"),
        f"{STORED}/sandboxwarmpools": stored("pool"),
    })  # fmt: skip
    finding = await check_stored_objects(api)
    assert finding.level is Level.WARNING
    assert finding.message == (
        f"2 of 4 have values that the CRDs refuse: sandboxsessions a/old: {problem}; "
        "sandboxtemplates a/default: spec.image: Required value"
    )
    assert "kubectl --namespace NAMESPACE edit KIND NAME" in finding.change


async def test_stored_objects_that_the_definitions_accept_are_counted_and_not_written():
    api = Canned({f"{STORED}/{kind}": stored("a", "b") for kind in ("sandboxsessions", "sandboxtemplates")})
    api.answers[f"{STORED}/sandboxwarmpools"] = stored()
    assert await check_stored_objects(api) == ok("stored objects", "the CRDs accept all 4")
    assert not [path for method, path in api.calls if method != "GET"]


async def test_without_rights_elsewhere_the_stored_objects_of_one_namespace_are_checked():
    own = f"{STORED}/namespaces/team"
    api = Canned(
        {f"{STORED}/{kind}": FORBIDDEN for kind in ("sandboxsessions", "sandboxtemplates", "sandboxwarmpools")}
    )
    api.answers |= {f"{own}/sandboxsessions": stored("a"), f"{own}/sandboxtemplates": stored()}
    api.answers[f"{own}/sandboxwarmpools"] = stored("p", problem="spec.replicas: Invalid value")
    assert (await check_stored_objects(api)).message.endswith("sandboxwarmpools a/p: spec.replicas: Invalid value")
    api.answers[f"{own}/sandboxwarmpools"] = FORBIDDEN
    finding = await check_stored_objects(api)
    assert (finding.level, finding.message) == (Level.SKIPPED, "sandboxwarmpools: deployments is forbidden")


async def test_objects_that_the_caller_may_not_create_are_not_called_valid(monkeypatch):
    api = Canned({f"{STORED}/{kind}": stored() for kind in ("sandboxtemplates", "sandboxwarmpools")})
    api.answers[f"{STORED}/sandboxsessions"] = stored("a", "b")
    monkeypatch.setattr(api, "dry_run", lambda _body: FORBIDDEN)
    finding = await check_stored_objects(api)
    assert (finding.level, finding.message) == (Level.SKIPPED, "sandboxsessions: deployments is forbidden")


@pytest.fixture
def impatient(monkeypatch):
    """Time that passes only while the doctor sleeps."""
    now = [0.0]

    async def sleep(seconds):
        now[0] += seconds

    monkeypatch.setattr(probe_session.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(asyncio, "sleep", sleep)
    return now


def session(phase, reason=""):
    conditions = [{"type": "Ready", "status": str(phase == "Ready"), "reason": reason, "message": "words"}]
    return Answer(200, {"metadata": {"name": "s"}, "status": {"phase": phase, "conditions": conditions}})


@pytest.mark.parametrize(
    ("answers", "check", "level", "text", "within"),
    [
        ([session("Starting", "Creating"), session("Ready", "Ready")], "session", Level.OK, "Ready after", 1),
        ([session("Failed", "TemplateInvalid")], "session", Level.FAILED, "TemplateInvalid words", 1),
        ([session("Pending", "ImagePullFailed")], "images", Level.FAILED, "ImagePullFailed", 17),
        (
            [session("Pending", "ImagePullFailed"), session("Starting", "Creating")] * 40,
            "images",
            Level.FAILED,
            "Pull",
            17,
        ),
        ([session("Pending", "Unschedulable")], "session", Level.FAILED, "Unschedulable", 17),
        ([session("Starting", "Starting")], "session", Level.FAILED, "was not Ready after 120 s", 122),
        ([session("Starting", "Connecting")], "session", Level.FAILED, "Connecting words", 122),
        ([Answer(200, {"metadata": {"name": "s"}})], "session", Level.FAILED, "not seen by the operator", 22),
    ],
)
async def test_waiting_ends_as_soon_as_it_is_useless(impatient, answers, check, level, text, within):
    probe = ProbeSession(Canned({}), "default")
    probe._api.answers[f"{SESSIONS}/{probe.name}"] = list(answers)
    finding = (await probe.wait(120))[-1]
    assert (finding.check, finding.level, text in finding.message) == (check, level, True)
    assert impatient[0] <= within
    assert bool(finding.change) == (level is Level.FAILED)


async def test_an_image_that_the_kubelet_cannot_get_is_named_before_the_operator_says_so(impatient):
    probe = ProbeSession(Canned({}), "default")
    starting = session("Starting", "Connecting")
    starting.body["status"]["podName"] = "p"
    waiting = {"image": "nowhere:1", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such host"}}}
    pod = Answer(200, {"status": {"containerStatuses": [{"state": {"running": {}}}, waiting]}})
    probe._api.answers |= {f"{SESSIONS}/{probe.name}": starting, "api/v1/namespaces/team/pods/p": pod}
    (finding,) = await probe.wait(120)
    assert (finding.check, finding.message) == ("images", "nowhere:1: ImagePullBackOff no such host")
    assert "images.registry" in finding.change
    assert impatient[0] <= 17


async def test_the_session_is_deleted_whatever_happens():
    api = Canned({f"POST {SESSIONS}": Answer(201, {"metadata": {"name": "s", "uid": "u"}})})
    probe, findings = ProbeSession(api, "default"), []

    async def fail():
        async with probe.opened(findings) as was_created:
            assert was_created
            raise KeyError

    with pytest.raises(KeyError):
        await fail()
    assert api.calls[-1] == ("DELETE", f"{SESSIONS}/{probe.name}")
    assert findings == []


async def test_a_session_that_cannot_be_deleted_is_named_with_the_command():
    api = Canned({f"POST {SESSIONS}": Answer(201, {}), f"DELETE {SESSIONS}": FORBIDDEN})
    probe, findings = ProbeSession(api, "default"), []
    api.answers[f"DELETE {SESSIONS}/{probe.name}"] = FORBIDDEN
    async with probe.opened(findings):
        pass
    assert f"kubectl --namespace team delete sandboxsession {probe.name}" in findings[0].change


@pytest.mark.parametrize(
    ("client", "stranger", "level", "text"),
    [
        (0, 3, Level.OK, "enforced"),
        (0, 0, Level.FAILED, "not enforced"),
        (3, 3, Level.WARNING, "cannot connect"),
        (3, 0, Level.WARNING, "cannot connect"),
        ("no room", 3, Level.SKIPPED, "no room"),
        (0, "no room", Level.SKIPPED, "no room"),
        (0, 1, Level.SKIPPED, "exit codes 0 and 1"),
    ],
)
def test_two_exit_codes_say_whether_policies_are_enforced(client, stranger, level, text):
    finding = network.judge(client, stranger)
    assert (finding.level, text in finding.message) == (level, True)


@pytest.mark.parametrize("is_client", [True, False])
def test_the_doctors_pods_are_hardened_and_go_with_the_session(is_client):
    pod = {
        "spec": {
            "containers": [{"name": "agent", "image": "a"}, {"name": "sandbox", "image": "s"}],
            "tolerations": [{"key": "t"}],
            "runtimeClassName": "gvisor",
        },
        "status": {"podIP": "10.0.0.1"},
    }
    probe = network.build_probe("p", {"metadata": {"name": "s", "uid": "u"}}, pod, is_client=is_client)
    assert probe["metadata"]["ownerReferences"][0]["uid"] == "u"
    assert (probe["metadata"]["labels"].get(network.CLIENT_LABEL) == "true") == is_client
    spec, (container,) = probe["spec"], probe["spec"]["containers"]
    assert spec["tolerations"] == [{"key": "t"}]
    assert (spec["automountServiceAccountToken"], spec["restartPolicy"]) == (False, "Never")
    assert spec["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert container["image"] == "s"
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert not container["securityContext"]["allowPrivilegeEscalation"]
    compile(container["command"][2], "probe", "exec")
    assert container["command"][3:] == ["10.0.0.1", "8443", "client" if is_client else "stranger"]


def test_each_problem_of_storage_is_a_finding_with_its_own_advice():
    checks = [
        StorageCheck(operation="put"),
        StorageCheck(operation="conditional put", problem="the store ignores If-Match"),
        StorageCheck(operation="delete", problem="AccessDenied"),
    ]
    findings = read_storage(CheckStorageResponse(checks=checks, clock_offset=Duration(seconds=-1000)))
    assert [(finding.check, finding.message) for finding in findings] == [
        ("storage", "conditional put: the store ignores If-Match"),
        ("storage", "delete: AccessDenied"),
        ("storage clock", "1000 s behind the node's"),
    ]
    assert "s3:DeleteObject" in findings[1].change
    (sound,) = read_storage(CheckStorageResponse(checks=checks[:1], clock_offset=Duration(seconds=3)))
    assert sound == ok("storage", "put")


FINDINGS = [
    ok("a", "fine"),
    warning("longer name", "odd", "do `this`"),
    skipped("b", "no rights"),
    failed("c", "bad", "fix"),
]


def test_a_table_has_a_line_for_each_finding_and_what_to_change_below():
    lines = format_table(FINDINGS).splitlines()
    assert lines[0] == "a            OK       fine"
    assert lines[1:3] == ["longer name  WARNING  odd", "                      -> do `this`"]
    assert lines[-1] == "1 ok, 1 warning, 1 failed, 1 skipped"
    assert max(map(len, format_table([failed("c", "word " * 100, "word " * 100)]).splitlines())) <= 100


def test_only_a_failure_fails_the_whole():
    assert has_failed(FINDINGS)
    assert not has_failed(FINDINGS[:3])
    assert to_json(FINDINGS)["fit"] is False


@pytest.mark.parametrize(("findings", "code"), [(FINDINGS, 1), (FINDINGS[:3], 0)])
def test_the_command_prints_the_findings_and_exits_with_their_verdict(monkeypatch, findings, code):
    async def examine(options, plan, _on_step):
        assert (options.namespace, plan.template, plan.may_create) == ("team", "big", False)
        return findings

    monkeypatch.setattr(run, "examine", examine)
    arguments = ["doctor", "-n", "team", "--template", "big", "--read-only"]
    done = CliRunner().invoke(main, arguments)
    assert (done.exit_code, "longer name  WARNING" in done.output) == (code, True)
    done = CliRunner().invoke(main, [*arguments, "--output", "json"])
    assert (done.exit_code, len(json.loads(done.output)["findings"])) == (code, len(findings))


async def test_no_cluster_is_a_finding_and_no_traceback(monkeypatch):
    def open_api(_options):
        raise SandboxUnavailable("no cluster is configured")

    monkeypatch.setattr(run, "open_api", open_api)
    (finding,) = await run.examine(None, run.Plan(), lambda _step: None)
    assert (finding.level, finding.message) == (Level.FAILED, "no cluster is configured")
    assert "--kubeconfig" in finding.change
