"""A session's life against the API server and agents in memory."""

import base64
import hashlib
from dataclasses import replace
from datetime import timedelta

import pytest

from sandbox_operator.api import naming
from sandbox_operator.api.values import format_time
from sandbox_operator.errors import AgentError
from sandbox_operator.kube.resources import NETWORK_POLICIES, PODS, SECRETS, SESSIONS, TEMPLATES
from sandbox_operator.session.event_recorder import EventRecorder
from sandbox_operator.session.pod_state import read_pod_state
from sandbox_operator.watch.handlers import session_key

NAMESPACE = "team"


async def test_a_session_becomes_ready_with_one_pod_and_two_secrets(world):
    await world.start()
    assert world.condition() == ("True", "Ready", "")
    assert world.secrets() == ["one-access", f"{world.pod()}-tls"]
    assert sorted(world.kube.named(NETWORK_POLICIES)) == ["sandbox-default-none"]
    status = world.status()
    assert status["endpoint"] == "10.1.0.1:8443"
    assert status["podName"] == world.pod()
    assert status["startup"]["source"] == "Cold"
    assert status["observedGeneration"] == 1


async def test_the_access_secret_holds_the_token_whose_hash_the_agent_was_given(world):
    await world.start()
    data = world.kube.named(SECRETS)["one-access"]["data"]
    token = base64.b64decode(data["token"])
    assert len(token) == 43
    assert world.agents.requests[0].token_sha256 == hashlib.sha256(token).digest()
    assert base64.b64decode(data["serverName"]).decode() == f"{world.pod()}.team.sandboxsessions.dev"
    assert base64.b64decode(data["podName"]).decode() == world.pod()


async def test_bind_carries_workspace_limits_and_environment(world):
    world.add_template(env={"defaults": [{"name": "A", "value": "template"}]}, limits={"executionTimeout": "30s"})
    world.kube.put(
        SECRETS, NAMESPACE, {"metadata": {"name": "mine"}, "data": {"k": base64.b64encode(b"hidden").decode()}}
    )
    world.add_session(
        env=[{"name": "A", "value": "session"}, {"name": "B", "secretKeyRef": {"name": "mine", "key": "k"}}],
        workspace={"name": "shared", "exclude": ["*.tmp"]},
    )
    await world.settle()
    (request,) = world.agents.requests
    assert dict(request.env) == {"A": "session", "B": "hidden"}
    assert request.workspace.key_prefix == "sandboxes/team/shared/"
    assert list(request.workspace.exclude) == ["*.tmp"]
    assert request.workspace.s3.secret_access_key == "canary-secret"
    assert request.limits.execution_timeout.seconds == 30
    assert request.limits.deny_network
    assert 28000 < request.lifecycle.max_lifetime.seconds <= 28800
    assert not request.lifecycle.keep_variables


async def test_bind_says_whether_variables_are_kept(world):
    await world.start(lifecycle={"keepVariables": True})
    (request,) = world.agents.requests
    assert request.lifecycle.keep_variables


@pytest.mark.parametrize(
    ("asked", "memory"), [({}, 2 << 30), ({"resources": {"limits": {"memory": "640Mi"}}}, 640 << 20)]
)
async def test_bind_tells_the_memory_that_the_pod_has(world, asked, memory):
    limits = {"default": {"limits": {"memory": "2Gi"}}, "maximum": {"memory": "4Gi"}}
    world.add_template(resources=limits)
    world.add_session(**asked)
    await world.settle()
    (request,) = world.agents.requests
    assert request.limits.memory_bytes == memory


@pytest.mark.parametrize("limit", [None, "", "lots", "-1Gi", 5, {}])
def test_a_pod_whose_memory_limit_is_none_or_odd_has_none(limit):
    resources = {} if limit is None else {"limits": {"memory": limit}}
    agent = {"name": "agent", "resources": {"limits": {"memory": "1Gi"}}}
    containers = [agent, {"name": "sandbox", "resources": resources}]
    pod = {"metadata": {"name": "p", "uid": "u"}, "spec": {"containers": containers}}
    assert read_pod_state(pod).memory_bytes == (5 if limit == 5 else 0)


async def test_no_object_but_the_access_secret_holds_a_secret(world):
    await world.start()
    token = world.kube.named(SECRETS)["one-access"]["data"]["token"]
    for (plural, _, name), found in world.kube.objects.items():
        assert "canary-secret" not in str(found)
        if (plural, name) != ("secrets", "one-access"):
            assert token not in str(found)


async def test_a_session_at_rest_is_not_written_again(world):
    await world.start()
    before = len(world.kube.calls)
    await world.operator.list_all()
    await world.settle()
    assert world.kube.calls[before:] == []


async def test_after_a_restart_sessions_that_are_as_they_were_are_not_asked_all_at_once(world):
    await world.start()
    since = world.status()["conditions"][0]["lastTransitionTime"]
    running = [{**each, "state": {"running": {"startedAt": since}}} for each in container_statuses(world)]
    world.kube.change(PODS, NAMESPACE, world.pod(), {"status": {"containerStatuses": running}})
    await world.settle()
    world.restart()
    world.agents.asked = 0
    await world.operator.list_all()
    await world.settle()
    assert world.agents.asked == 0
    assert 0 <= world.operator.later[SESSIONS.plural, NAMESPACE, "one"] <= 60
    await world.operator.work((SESSIONS.plural, NAMESPACE, "one"))
    assert world.agents.asked == 1
    assert world.status()["phase"] == "Ready"


async def test_after_a_restart_an_agent_that_started_again_is_bound_at_once(world):
    await world.start()
    later = format_time(world.clock.now + timedelta(seconds=30))
    running = [{**each, "state": {"running": {"startedAt": later}}} for each in container_statuses(world)]
    world.kube.change(PODS, NAMESPACE, world.pod(), {"status": {"containerStatuses": running}})
    world.agents.views.clear()
    world.restart()
    await world.operator.list_all()
    await world.settle()
    assert len(world.agents.requests) == 2


def container_statuses(world):
    return world.pods()[world.pod()]["status"]["containerStatuses"]


async def test_suspending_drains_before_the_pod_goes(world):
    await world.start()
    world.kube.change(SESSIONS, NAMESPACE, "one", {"spec": {"suspended": True}})
    await world.settle()
    assert world.agents.drains == 1
    assert world.pods() == {}
    assert world.status()["phase"] == "Suspended"
    assert world.condition("WorkspaceSynced")[:2] == ("True", "Synced")
    assert "endpoint" not in world.status()


@pytest.mark.parametrize("is_resumed", [False, True], ids=["", "resumed meanwhile"])
async def test_files_of_a_suspended_session_are_saved_even_if_its_pod_is_seen_to_end(world, monkeypatch, is_resumed):
    ended, seen = [], []

    def end_slowly(play=world.play_kubelet):
        for name, pod in world.pods().items():
            if pod["metadata"].get("deletionTimestamp") and name not in ended:
                ended.append(name)
                world.kube.change(PODS, NAMESPACE, name, {"status": {"phase": "Succeeded"}})
                if is_resumed:
                    world.kube.change(SESSIONS, NAMESPACE, "one", {"spec": {"suspended": False}})
                return True
        seen.append(world.condition("WorkspaceSynced"))
        return play()

    await world.start()
    monkeypatch.setattr(world, "play_kubelet", end_slowly)
    world.kube.change(SESSIONS, NAMESPACE, "one", {"spec": {"suspended": True}})
    await world.settle()
    assert len(ended) == 1
    assert world.status()["phase"] == ("Ready" if is_resumed else "Suspended")
    assert set(seen) == {("True", "Synced", "")}


async def test_a_push_that_fails_keeps_the_pod_and_says_why(world):
    await world.start()
    world.agents.drain_error = AgentError("STORAGE_UNAVAILABLE", "storage is down")
    world.kube.change(SESSIONS, NAMESPACE, "one", {"spec": {"suspended": True}})
    await world.settle()
    assert len(world.pods()) == 1
    assert world.status()["phase"] == "Suspending"
    assert world.condition("WorkspaceSynced") == ("False", "PushFailed", "STORAGE_UNAVAILABLE: storage is down")
    world.agents.drain_error = None
    world.clock.advance(minutes=2)
    await world.operator.list_all()
    await world.settle()
    assert world.status()["phase"] == "Suspended"


async def test_a_session_without_storage_never_says_that_it_is_saved(world, monkeypatch):
    told = []
    monkeypatch.setattr(EventRecorder, "record", lambda _self, _session, reason, *_, **__: told.append(reason))
    await world.start()
    (name,) = world.agents.views
    world.agents.views[name] = replace(world.agents.views[name], has_storage=False)
    await look_again(world)
    assert world.condition("WorkspaceSynced")[:2] == ("False", "NoStorage")
    assert "storage.bucket" in world.condition("WorkspaceSynced")[2]
    world.kube.change(SESSIONS, NAMESPACE, "one", {"spec": {"suspended": True}})
    await world.settle()
    assert world.status()["phase"] == "Suspended"
    assert world.condition("WorkspaceSynced")[:2] == ("False", "NoStorage")
    assert "NoStorage" in told


async def test_a_resumed_session_gets_the_same_pod_name_and_keeps_its_token(world):
    await world.start()
    name, token = world.pod(), world.kube.named(SECRETS)["one-access"]["data"]["token"]
    world.kube.change(SESSIONS, NAMESPACE, "one", {"spec": {"suspended": True}})
    await world.settle()
    world.kube.change(SESSIONS, NAMESPACE, "one", {"spec": {"suspended": False}})
    await world.settle()
    assert world.pod() == name
    assert world.kube.named(SECRETS)["one-access"]["data"]["token"] == token
    assert world.status()["phase"] == "Ready"
    assert len(world.agents.requests) == 2


async def test_deleting_a_session_leaves_nothing_of_it(world):
    await world.start()
    world.kube.remove(SESSIONS, NAMESPACE, "one")
    await world.settle()
    assert world.pods() == {}
    assert world.secrets() == []
    assert world.agents.forgotten == set(world.agents.views)


async def test_an_agent_that_restarted_is_bound_again(world):
    await world.start()
    world.agents.views.clear()
    await world.operator.list_all()
    await world.settle()
    assert len(world.agents.requests) == 2
    assert world.agents.requests[0].token_sha256 == world.agents.requests[1].token_sha256
    assert world.status()["phase"] == "Ready"


async def test_a_pod_deleted_by_hand_is_replaced(world):
    await world.start()
    uid = world.pods()[world.pod()]["metadata"]["uid"]
    world.kube.remove(PODS, NAMESPACE, world.pod())
    await world.settle()
    assert world.pods()[world.pod()]["metadata"]["uid"] != uid
    assert world.status()["phase"] == "Ready"


async def test_an_evicted_pod_is_replaced_once_it_is_old_enough(world):
    await world.start()
    status = {"phase": "Failed", "reason": "Evicted", "message": "disk pressure"}
    world.kube.change(PODS, NAMESPACE, world.pod(), {"status": status})
    await world.settle()
    assert world.condition() == ("False", "PodLost", "Evicted: disk pressure")
    world.clock.advance(seconds=11)
    await world.operator.list_all()
    await world.settle()
    assert world.status()["phase"] == "Ready"


async def test_an_idle_session_is_suspended_and_can_be_resumed(world):
    await world.start()
    world.clock.advance(minutes=16)
    await world.operator.list_all()
    await world.settle()
    assert world.session()["spec"]["suspended"] is True
    assert world.status()["phase"] == "Suspended"
    assert world.condition()[1] == "Idle"
    world.kube.change(SESSIONS, NAMESPACE, "one", {"spec": {"suspended": False}})
    await world.settle()
    assert world.status()["phase"] == "Ready"


async def test_a_session_in_use_is_not_idle(world):
    await world.start()
    (name,) = world.agents.views
    world.agents.views[name] = replace(world.agents.views[name], running=1)
    world.clock.advance(hours=1)
    await world.operator.list_all()
    await world.settle()
    assert world.status()["phase"] == "Ready"


async def test_an_idle_session_with_delete_is_saved_and_deleted(world):
    await world.start(lifecycle={"onIdle": "Delete"})
    world.clock.advance(minutes=16)
    await world.operator.list_all()
    await world.settle()
    assert world.agents.drains == 1
    assert world.kube.named(SESSIONS) == {}
    assert world.pods() == {}


@pytest.mark.parametrize("restore", ["RUNNING", "DONE"])
async def test_a_session_that_is_restored_for_longer_than_its_idle_timeout_is_not_deleted_before_it_was_ready(
    world, restore
):
    await world.start(lifecycle={"onIdle": "Delete"})
    (name,) = world.agents.views
    world.agents.views[name] = replace(world.agents.views[name], restore=restore, idle=timedelta(minutes=16))
    world.clock.advance(minutes=16)
    await world.operator.list_all()
    await world.settle()
    assert (world.kube.named(SESSIONS) != {}) is (restore == "RUNNING")
    assert world.agents.drains == (0 if restore == "RUNNING" else 1)


async def test_what_was_known_of_a_workspace_stays_while_it_is_being_restored(world):
    await world.start()
    (name,) = world.agents.views
    told = replace(world.agents.views[name], generation=7, files=3, bytes=9, dirty=True)
    world.agents.views[name] = told
    await look_again(world)
    before = world.status()["workspace"], world.condition("WorkspaceSynced")
    assert before[0] == {"generation": 7, "files": 3, "bytes": 9, "dirty": True}
    assert before[1][:2] == ("False", "Unsaved")
    # The next pod's agent, which says nothing of its workspace yet.
    world.agents.views[name] = replace(told, restore="RUNNING", generation=0, files=0, bytes=0, dirty=False)
    await look_again(world)
    assert world.condition()[1] == "Restoring"
    assert (world.status()["workspace"], world.condition("WorkspaceSynced")) == before


async def look_again(world):
    world.clock.advance(minutes=2)
    await world.operator.list_all()
    await world.settle()


async def test_fault_7_a_session_that_was_gone_before_its_deletion_is_forgotten_at_once(world):
    """A session that is found to be gone is forgotten at once."""
    await world.start(lifecycle={"maxLifetime": "1h", "idleTimeout": "10h", "ttlAfterFinished": "1h"})
    for _ in range(2):
        world.clock.advance(minutes=61)
        await world.operator.list_all()
        if world.status()["phase"] == "Suspended":
            # Gone without an event.
            del world.kube.objects[SESSIONS.plural, NAMESPACE, "one"]
        await world.settle()
    assert ("delete", SESSIONS.plural, "one") in world.kube.calls
    assert world.operator.store.get(SESSIONS, (NAMESPACE, "one")) is None
    assert session_key(NAMESPACE, "one") not in world.operator.reconciler._seen, "it was looked at once more"


async def test_an_expired_session_is_suspended_and_deleted_after_its_time_to_live(world):
    await world.start(lifecycle={"maxLifetime": "1h", "idleTimeout": "10h", "ttlAfterFinished": "1h"})
    world.clock.advance(minutes=61)
    await world.operator.list_all()
    await world.settle()
    assert (world.status()["phase"], world.condition()[1]) == ("Suspended", "Expired")
    world.clock.advance(minutes=61)
    await world.operator.list_all()
    await world.settle()
    assert world.kube.named(SESSIONS) == {}


async def test_a_session_suspended_by_hand_is_never_deleted_by_its_time_to_live(world):
    await world.start(lifecycle={"ttlAfterFinished": "1h"})
    world.kube.change(SESSIONS, NAMESPACE, "one", {"spec": {"suspended": True}})
    await world.settle()
    world.clock.advance(days=2)
    await world.operator.list_all()
    await world.settle()
    assert world.status()["phase"] == "Suspended"


async def test_a_session_that_names_no_template_is_told_which_one_it_would_get(world):
    world.kube.put(SESSIONS, NAMESPACE, {"metadata": {"name": "one"}, "spec": {}})
    await world.settle()
    message = "spec.templateRef.name: there is no SandboxTemplate default in this namespace"
    assert world.condition()[1:] == ("TemplateNotFound", message)


async def test_a_session_waits_for_its_template(world):
    world.add_session()
    await world.settle()
    assert world.status()["phase"] == "Pending"
    assert world.condition()[1] == "TemplateNotFound"
    world.add_template()
    await world.settle()
    assert world.status()["phase"] == "Ready"


async def test_a_template_with_a_private_address_in_its_allowlist_is_refused_by_its_field(world):
    world.add_template(egress={"mode": "Allowlist", "allow": [{"cidr": "169.254.169.254/32"}]})
    world.add_session()
    await world.settle()
    assert world.condition()[1] == "TemplateInvalid"
    assert "spec.egress.allow.0.cidr" in world.condition()[2]
    assert world.pods() == {}


async def test_what_the_template_does_not_allow_is_refused_and_the_others_go_on(world):
    world.add_template(resources={"maximum": {"cpu": "2"}}, env={"forbidden": ["LD_*"]})
    world.add_session("wide", egress="Public")
    world.add_session("large", resources={"limits": {"cpu": "3"}})
    world.add_session("env", env=[{"name": "LD_PRELOAD", "value": "x"}])
    world.add_session("missing", env=[{"name": "A", "secretKeyRef": {"name": "none", "key": "k"}}])
    world.add_session("good", resources={"limits": {"cpu": "2"}})
    await world.settle()
    assert world.condition(name="wide")[1:] == (
        "EgressNotAllowed",
        "spec.egress: Public is wider than the template's None",
    )
    assert world.condition(name="large")[2].startswith("spec.resources.limits.cpu: 3 is above")
    assert world.condition(name="env")[2].startswith("spec.env.0.name: LD_PRELOAD is forbidden")
    assert world.condition(name="missing")[1:] == (
        "SecretKeyNotFound",
        "spec.env.0.secretKeyRef.name: Secret none does not exist",
    )
    assert world.status("good")["phase"] == "Ready"
    assert world.status("wide")["phase"] == "Failed"


async def test_a_session_cannot_read_the_operators_secrets(world):
    await world.start()
    world.add_session("thief", env=[{"name": "A", "secretKeyRef": {"name": "one-access", "key": "token"}}])
    await world.settle()
    assert world.condition(name="thief")[1] == "EnvNotAllowed"


async def test_of_two_sessions_with_one_workspace_the_older_runs_first(world):
    world.add_template()
    world.add_session("older", workspace={"name": "shared"})
    world.clock.advance(seconds=1)
    world.add_session("newer", workspace={"name": "shared"})
    await world.settle()
    assert world.status("older")["phase"] == "Ready"
    assert world.condition(name="newer")[1:] == ("WorkspaceInUse", "session older is using workspace shared")
    world.kube.remove(SESSIONS, NAMESPACE, "older")
    await world.settle()
    assert world.status("newer")["phase"] == "Ready"


async def test_a_foreign_pod_of_the_same_name_is_left_alone(world):
    await world.start()
    name = world.pod()
    world.kube.change(SESSIONS, NAMESPACE, "one", {"spec": {"suspended": True}})
    await world.settle()
    world.kube.put(PODS, NAMESPACE, {"kind": "Pod", "metadata": {"name": name}, "status": {"phase": "Running"}})
    world.kube.change(SESSIONS, NAMESPACE, "one", {"spec": {"suspended": False}})
    await world.settle()
    assert world.condition()[1] == "PodNameTaken"
    assert name in world.pods()


async def test_a_foreign_access_secret_is_neither_used_nor_changed(world):
    world.kube.put(SECRETS, NAMESPACE, {"metadata": {"name": "one-access"}, "data": {"token": "YQ=="}})
    world.add_template()
    world.add_session()
    await world.settle()
    assert world.condition()[1] == "SecretNameTaken"
    assert world.agents.requests == []
    assert world.kube.named(SECRETS)["one-access"]["data"] == {"token": "YQ=="}


async def test_an_image_that_cannot_be_pulled_is_named_and_fails_at_the_deadline(world):
    world.add_template()
    world.add_session()
    await world.operator.settle()
    waiting = {"name": "sandbox", "image": "none:1", "state": {"waiting": {"reason": "ErrImagePull"}}}
    world.kube.change(PODS, NAMESPACE, world.pod(), {"status": {"phase": "Pending", "containerStatuses": [waiting]}})
    await world.operator.settle()
    assert world.condition() == ("False", "ImagePullFailed", "container sandbox: image none:1: cannot be pulled")
    world.clock.advance(minutes=6)
    await world.operator.list_all()
    await world.operator.settle()
    assert world.status()["phase"] == "Failed"
    assert world.condition()[1] == "ImagePullFailed"
    world.kube.run_pod(NAMESPACE, world.pod())
    await world.settle()
    assert world.status()["phase"] == "Ready"


@pytest.mark.parametrize("does_answer", [False, True])
async def test_an_image_that_cannot_be_pulled_is_named_also_while_the_agent_runs_already(world, does_answer):
    world.add_template()
    world.add_session()
    await world.operator.settle()
    statuses = [
        {"name": "agent", "state": {"running": {}}},
        {"name": "sandbox", "image": "none:1", "state": {"waiting": {"reason": "ImagePullBackOff"}}},
    ]
    status = {"phase": "Pending", "podIP": "10.9.9.9", "containerStatuses": statuses}
    if not does_answer:
        world.agents.unreachable.add(naming.server_name(world.pod(), NAMESPACE))
    world.kube.change(PODS, NAMESPACE, world.pod(), {"status": status})
    await world.operator.settle()
    assert world.condition() == ("False", "ImagePullFailed", "container sandbox: image none:1: cannot be pulled")
    assert world.agents.requests == []


async def test_a_template_that_is_gone_does_not_disturb_a_running_session(world):
    await world.start()
    world.kube.remove(TEMPLATES, NAMESPACE, "default")
    await world.settle()
    assert world.status()["phase"] == "Ready"


async def test_a_forged_status_is_put_right(world):
    await world.start()
    right = world.status()
    world.kube.change(SESSIONS, NAMESPACE, "one", {"status": {"phase": "Failed", "endpoint": "6.6.6.6:1"}})
    await world.settle()
    assert world.status()["phase"] == "Ready"
    assert world.status()["endpoint"] == right["endpoint"]


async def test_a_session_that_cannot_be_parsed_says_which_field(world):
    world.add_session(lifecycle={"idleTimeout": "soon"})
    await world.settle()
    assert world.condition() == (
        "False",
        "InvalidSpec",
        "spec.lifecycle.idleTimeout: must be between 1s and 720h, such as 90s, 15m or 1h30m",
    )


async def test_a_lifecycle_that_contradicts_itself_is_named_and_one_that_does_not_is_not(world):
    world.add_template()
    world.add_session("odd", lifecycle={"idleTimeout": "2h", "maxLifetime": "1h", "onIdle": "Delete"})
    world.add_session("even", lifecycle={"idleTimeout": "59m", "maxLifetime": "1h", "onIdle": "Delete"})
    await world.settle()
    assert world.condition("LifecycleEffective", "odd") == (
        "False",
        "IdleTimeoutUnreachable",
        (
            "spec.lifecycle.idleTimeout (7200 s) must be shorter than maxLifetime (3600 s) to take effect: "
            "onExpiry (Suspend) always comes first, so onIdle (Delete) never happens"
        ),
    )
    assert world.status("odd")["phase"] == "Ready"
    assert "LifecycleEffective" not in {each["type"] for each in world.status("even")["conditions"]}
    # What was said is done: nothing is lost by it.
    world.clock.advance(hours=1)
    await world.operator.list_all()
    await world.settle()
    assert (world.status("odd")["phase"], world.session("odd")["spec"]["suspended"]) == ("Suspended", True)
    assert world.agents.drains == 2
