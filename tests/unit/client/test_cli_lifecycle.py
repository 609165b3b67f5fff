"""The commands that create sessions and change their lives, at a scripted API server."""

import datetime as dt
import json

import pytest
from click.testing import CliRunner

from sandbox_client.cli import main
from sandbox_client.cluster import start_policy
from tests.support.session_api import problem, session

EVERYTHING = """
create s --no-wait --template science --env A=1 --env B=x=y -l team=a --label example.com/b=c --workspace w
--idle-timeout 1h --lifetime 12h --on-idle delete --egress none --cpu 2 --memory 4Gi --limits ephemeral-storage=8Gi
--requests cpu=500m,memory=1Gi --keep-variables
"""


@pytest.fixture
def run(options):
    def run(*words):
        done = CliRunner().invoke(main, [*words, "--kubeconfig", options.kubeconfig])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.stdout, done.stderr

    return run


def become(phase):
    def operator(found):
        found["metadata"].setdefault("resourceVersion", "1")
        found["status"] = {"phase": "Suspended" if found["spec"].get("suspended") else phase}

    return operator


def test_a_create_sets_everything_that_a_session_can_set(api, run):
    assert run(*EVERYTHING.split()) == (0, "s\n", "")
    made = api.sessions["s"]
    assert made["metadata"] == {"name": "s", "labels": {"team": "a", "example.com/b": "c"}}
    assert made["spec"] == {
        "templateRef": {"name": "science"},
        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "x=y"}],
        "resources": {
            "requests": {"cpu": "500m", "memory": "1Gi"},
            "limits": {"ephemeral-storage": "8Gi", "cpu": "2", "memory": "4Gi"},
        },
        "egress": "None",
        "workspace": {"name": "w"},
        "lifecycle": {"idleTimeout": "1h", "maxLifetime": "12h", "onIdle": "Delete", "keepVariables": True},
    }


def test_a_create_without_a_name_prints_the_one_that_it_made(api, run):
    code, shown, _ = run("create", "--no-wait", "--output", "json")
    (name,) = api.sessions
    assert (code, json.loads(shown)) == (0, {"name": name, "status": "created"})
    assert api.sessions[name]["metadata"]["generateName"] == "sandbox-"


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["X"], "NAME: 'X'"),
        (["--label", "kubernetes.io/a=b"], "--label: 'kubernetes.io/a' is reserved"),
        (["--label", "a"], "--label: 'a' is not KEY=VALUE"),
        (["--env", "=a"], "--env: '=a' is not KEY=VALUE"),
        (["--env", "A=1", "--env", "A=2"], "--env: A is given twice"),
        (["--idle-timeout", "soon"], "--idle-timeout: 'soon' is not a duration"),
        (["--lifetime", "0"], "--lifetime: '0' must be longer than 0"),
        (["--egress", "all"], "'--egress': 'all' is not one of"),
        (["--memory", "lots"], "--memory, --limits or --requests: 'lots', the memory in limits"),
        (["--cpu", "1", "--limits", "cpu=2"], "--cpu: cpu is also in --limits"),
        (["--requests", "gpu=1"], "'gpu' in requests is none of"),
        (["--limits", ""], "--limits: '' is not KEY=VALUE"),
        (["--workspace", "A B"], "--workspace: 'A B' is not a name"),
        (["--template", ""], "--template: '' is not a name"),
    ],
)
def test_a_wrong_option_is_named_as_the_user_wrote_it(api, run, words, named):
    code, shown, said = run("create", *words)
    assert (code, shown) == (2, "")
    assert named in said
    assert api.sessions == {}


def test_a_create_that_cannot_succeed_says_why_and_ends_soon(api, run, monkeypatch):
    monkeypatch.setitem(start_policy._HOPELESS, "PodRefused", (0.2, "Ask for less."))
    message = "pods 'x' is forbidden: exceeded quota: pods=10"

    def operator(found):
        found["metadata"]["resourceVersion"] = "1"
        found["status"] = problem("Pending", "PodRefused", message)["status"]

    api.operator = operator
    code, shown, said = run("create", "s")
    assert (code, shown) == (125, "")
    progress, error = said.splitlines()
    assert progress == f"s: Pending: PodRefused: {message}"
    assert error == f"error: session s is not ready: it is Pending (Ready: PodRefused {message}). Ask for less."


def test_json_output_has_no_progress_beside_the_error(api, run, monkeypatch):
    monkeypatch.setitem(start_policy._HOPELESS, "PodRefused", (0.2, "Ask for less."))
    api.operator = lambda found: (
        found.update(status=problem("Pending", "PodRefused", "no")["status"])
        or found["metadata"].update(resourceVersion="1")
    )
    code, shown, said = run("create", "s", "--output", "json")
    assert (code, shown, json.loads(said)["type"]) == (125, "", "SessionFailed")


def test_limits_that_the_template_imposed_are_shown(api, run):
    def operator(found):
        condition = {"type": "LifecycleEffective", "status": "False", "message": "the template allows 8h"}
        found["status"] = {"phase": "Ready", "conditions": [condition]}

    api.operator = operator
    assert run("create", "s", "--lifetime", "2d") == (0, "s\n", "the template allows 8h\n")


def test_a_timeout_moves_the_end_of_a_session(api, run):
    api.sessions["s"] = session("Ready")
    code, shown, _ = run("timeout", "s", "30m")
    assert code == 0
    assert shown.startswith("s ends at ")
    assert shown.endswith(" UTC, in 30m\n")
    end = dt.datetime.fromisoformat(api.sessions["s"]["spec"]["lifecycle"]["expiresAt"])
    assert abs((end - dt.datetime.now(dt.UTC)).total_seconds() - 1800) < 60

    later = (dt.datetime.now(dt.UTC) + dt.timedelta(hours=5)).replace(microsecond=0)
    code, shown, _ = run("timeout", "s", later.isoformat(), "--output", "json")
    assert (code, json.loads(shown)["name"]) == (0, "s")
    assert dt.datetime.fromisoformat(api.sessions["s"]["spec"]["lifecycle"]["expiresAt"]) == later

    assert run("timeout", "s", "none")[:2] == (0, "s has no end of its own\n")
    assert "expiresAt" not in api.sessions["s"]["spec"]["lifecycle"]


@pytest.mark.parametrize(
    ("words", "code", "named"),
    [
        (["s", "soon"], 2, "'TIME': 'soon' is not a duration"),
        (["s", "2001-01-01T00:00:00Z"], 2, "2001-01-01T00:00:00Z is in the past"),
        (["nope", "30m"], 125, "session nope"),
        (["s"], 2, "Missing argument 'TIME'"),
    ],
)
def test_a_wrong_timeout_says_what_is_wrong(api, run, words, code, named):
    api.sessions["s"] = session("Ready")
    found, shown, said = run("timeout", *words)
    assert (found, shown) == (code, "")
    assert named in said
    assert "lifecycle" not in api.sessions["s"]["spec"]


def test_a_session_is_suspended_and_resumed_with_a_new_end(api, run):
    api.operator = become("Ready")
    api.sessions["s"] = session("Ready")
    assert run("suspend", "s") == (0, "s is Suspended\n", "")
    assert run("resume", "s", "--expires", "2h") == (0, "s is Ready\n", "")
    assert api.sessions["s"]["spec"]["suspended"] is False
    assert "expiresAt" in api.sessions["s"]["spec"]["lifecycle"]
    code, shown, said = run("resume", "nope")
    assert (code, shown) == (125, "")
    assert "session nope" in said
