"""Warm pools against the API server and agents in memory: filled, claimed, rolled over, never claimed twice."""

import pytest

from sandbox_operator.api import naming
from sandbox_operator.errors import ConflictError, ForbiddenError, InvalidError, NotLeadingError, UnavailableError
from sandbox_operator.kube.resources import NETWORK_POLICIES, PODS, POOLS, SECRETS, SESSIONS, TEMPLATES

NAMESPACE = "team"


async def fill(world, replicas=2, **template):
    world.add_template(**template)
    world.add_pool(replicas=replicas)
    await world.settle()
    assert len(world.blank()) == replicas


def labels(world, pod):
    return world.pods()[pod]["metadata"]["labels"]


def pool_condition(world, name="pool"):
    (condition,) = world.pool(name)["status"]["conditions"]
    return condition["status"], condition["reason"], condition["message"]


def writes(world, since):
    reads = {"get", "list"}
    return [(verb, plural) for verb, plural, _ in world.kube.calls[since:] if verb not in reads]


async def test_a_pool_is_filled_with_blank_pods_that_own_their_certificates(world):
    await fill(world, 3)
    status = world.pool()["status"]
    assert (status["replicas"], status["readyReplicas"]) == (3, 3)
    assert status["selector"] == "sandboxsessions.dev/pool=pool,sandboxsessions.dev/state=blank"
    assert pool_condition(world) == ("True", "Ready", "")
    secrets = world.kube.named(SECRETS)
    for name, pod in world.pods().items():
        (owner,) = secrets[f"{name}-tls"]["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"]) == ("Pod", pod["metadata"]["uid"])


@pytest.mark.parametrize(("egress", "after"), [("None", "none"), ("Public", "public")])
async def test_the_narrowest_policy_selects_a_blank_pod_and_a_claim_changes_it_only_for_a_wider_egress(
    world, egress, after
):
    await fill(world, 1, egress={"mode": egress})
    (pod,) = world.blank()
    assert selecting(world, pod) == ["sandbox-default-none"]
    world.add_session()
    await world.settle()
    assert world.status()["podName"] == pod
    assert selecting(world, pod) == [f"sandbox-default-{after}"]


def selecting(world, pod):
    policies = world.kube.named(NETWORK_POLICIES).items()
    own = labels(world, pod).items()
    return [name for name, policy in policies if policy["spec"]["podSelector"]["matchLabels"].items() <= own]


async def test_a_pool_whose_policy_is_refused_says_so_and_makes_no_pod(world):
    real = world.kube.patch

    async def refuse(resource, *arguments, **options):
        if resource is NETWORK_POLICIES:
            raise InvalidError(422, "Invalid", "spec.ingress[0].from[1]: bad")
        return await real(resource, *arguments, **options)

    world.kube.patch = refuse
    world.add_template()
    world.add_pool(replicas=1)
    await world.settle()
    status, reason, message = pool_condition(world)
    assert (status, reason) == ("False", "TemplateInvalid")
    assert "spec.ingress[0].from[1]: bad" in message
    assert world.pods() == {}


async def test_fault_7_a_session_whose_deletion_nobody_told_takes_no_warm_pod_but_the_first(world):
    """A session whose deletion was missed takes no second warm pod."""
    await fill(world)
    session = world.add_session()
    # Gone without an event; what it owns is collected, as often as there is something.
    watchers, world.kube.watchers = world.kube.watchers, []
    world.kube.remove(SESSIONS, NAMESPACE, "one")
    world.kube.watchers = watchers
    taken = set()

    def collect():
        owned = [
            name
            for name, pod in world.pods().items()
            if pod["metadata"]["ownerReferences"][0]["uid"] == session["metadata"]["uid"]
        ]
        for name in owned:
            taken.add(name)
            world.kube.remove(PODS, NAMESPACE, name)
        return bool(owned) or world.play_kubelet()

    await world.operator.settle(collect)
    assert len(taken) <= 1
    assert world.operator.store.get(SESSIONS, (NAMESPACE, "one")) is None


async def test_a_session_takes_a_blank_pod_and_the_pool_makes_another(world):
    await fill(world)
    before = world.blank()
    world.add_session()
    await world.settle()
    status = world.status()
    assert status["phase"] == "Ready"
    assert status["startup"]["source"] == "Warm"
    assert status["podName"] in before
    claimed = world.pods()[status["podName"]]["metadata"]
    (owner,) = claimed["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("SandboxSession", world.session()["metadata"]["uid"])
    assert claimed["labels"][naming.STATE] == "bound"
    assert claimed["labels"][naming.EGRESS] == "none"
    assert claimed["labels"][naming.SESSION] == world.session()["metadata"]["uid"]
    # What the API server takes for "keep no books of this object's fields any more".
    assert claimed["managedFields"] == [{}]
    assert len(world.blank()) == 2
    assert len(world.pods()) == 3


async def test_a_warm_start_costs_three_writes_and_no_read(world):
    await fill(world)
    world.add_session("first")
    await world.settle()
    world.add_session("second")
    before = len(world.kube.calls)
    await world.operator.work((SESSIONS.plural, NAMESPACE, "second"))
    assert world.kube.calls[before:] == [
        ("patch", "pods", world.status("second")["podName"]),
        ("create", "secrets", "second-access"),
        ("patch", "sandboxsessions", "second"),
    ]
    assert world.status("second")["phase"] == "Ready"
    # Each look covers the events of the writes before it: no other look follows for them.
    assert world.operator.acknowledged.count((SESSIONS.plural, NAMESPACE, "second")) == 3


async def test_what_a_session_brings_arrives_at_bind_and_costs_no_warm_start(world):
    await fill(world, egress={"mode": "Public"})
    world.add_session(env=[{"name": "A", "value": "mine"}], egress="None")
    await world.settle()
    assert world.status()["startup"]["source"] == "Warm"
    (request,) = world.agents.requests
    assert dict(request.env) == {"A": "mine"}
    assert request.limits.deny_network
    assert labels(world, world.status()["podName"])[naming.EGRESS] == "none"


async def test_the_policy_of_a_wider_egress_is_there_before_the_claim_and_the_claim_before_bind(world):
    await fill(world, egress={"mode": "Public"})
    before = len(world.kube.calls)
    world.add_session()
    await world.settle()
    calls = [call[:2] for call in world.kube.calls[before:]]
    assert calls.index(("patch", "networkpolicies")) < calls.index(("patch", "pods"))


async def test_an_empty_pool_falls_back_to_a_cold_start_and_says_so(world):
    await fill(world, 1)
    world.add_session("first")
    world.add_session("second")
    for name in ("first", "second"):
        await world.operator.work((SESSIONS.plural, NAMESPACE, name))
    await world.settle()
    assert [world.status(name)["startup"]["source"] for name in ("first", "second")] == ["Warm", "Cold"]
    assert world.status("second")["phase"] == "Ready"


async def test_a_session_that_asks_for_more_than_the_default_starts_cold(world):
    await fill(world, resources={"maximum": {"cpu": "4"}})
    world.add_session(resources={"limits": {"cpu": "2"}})
    await world.settle()
    assert world.status()["startup"]["source"] == "Cold"
    assert len(world.blank()) == 2


async def test_pods_are_taken_from_the_node_with_the_fewest_sessions(world):
    world.add_template()
    world.add_pool("one", 2)
    world.add_pool("two", 2)
    await world.settle()
    for number, name in enumerate(sorted(world.blank())):
        world.kube.change(PODS, NAMESPACE, name, {"spec": {"nodeName": f"node{number % 2}"}})
    for name in ("first", "second"):
        world.add_session(name)
        await world.operator.work((SESSIONS.plural, NAMESPACE, name))
    nodes = {world.pods()[world.status(name)["podName"]]["spec"]["nodeName"] for name in ("first", "second")}
    assert nodes == {"node0", "node1"}


async def test_a_pod_that_is_not_ready_is_not_claimed(world):
    await fill(world, 1)
    (pod,) = world.blank()
    world.kube.change(PODS, NAMESPACE, pod, {"status": {"conditions": [{"type": "Ready", "status": "False"}]}})
    world.add_session()
    await world.settle()
    assert world.status()["startup"]["source"] == "Cold"


async def test_a_changed_template_rolls_the_blank_pods_over_and_leaves_sessions_alone(world):
    await fill(world)
    world.add_session()
    await world.settle()
    serving, old = world.status()["podName"], world.blank()
    world.kube.change(TEMPLATES, NAMESPACE, "default", {"spec": {"image": "sandbox:2"}})
    await world.settle()
    assert len(world.blank()) == 2
    assert not world.blank() & old
    assert world.status()["podName"] == serving
    assert world.status()["phase"] == "Ready"
    images = {world.pods()[pod]["spec"]["containers"][1]["image"] for pod in world.blank()}
    assert images == {"sandbox:2"}


async def test_a_changed_environment_of_the_template_costs_no_pod(world):
    await fill(world)
    old = world.blank()
    env = {"defaults": [{"name": "A", "value": "new"}]}
    world.kube.change(TEMPLATES, NAMESPACE, "default", {"spec": {"env": env}})
    await world.settle()
    assert world.blank() == old
    world.add_session()
    await world.settle()
    assert world.status()["startup"]["source"] == "Warm"
    assert dict(world.agents.requests[0].env) == {"A": "new"}


async def test_scaling_down_deletes_blank_pods_and_no_claimed_one(world):
    await fill(world, 3)
    world.add_session()
    await world.settle()
    world.kube.change(POOLS, NAMESPACE, "pool", {"spec": {"replicas": 0}})
    await world.settle()
    assert world.blank() == set()
    assert list(world.pods()) == [world.status()["podName"]]
    assert world.pool()["status"]["replicas"] == 0


async def test_a_deleted_pool_takes_its_blank_pods_with_it_and_no_claimed_one(world):
    await fill(world, 3)
    world.add_session()
    await world.settle()
    world.kube.remove(POOLS, NAMESPACE, "pool")
    await world.settle()
    pod = world.status()["podName"]
    assert list(world.pods()) == [pod]
    assert world.secrets() == ["one-access", f"{pod}-tls"]
    assert world.status()["phase"] == "Ready"


async def test_a_blank_pod_that_is_killed_is_replaced(world):
    await fill(world, 2)
    gone = min(world.blank())
    world.kube.remove(PODS, NAMESPACE, gone)
    await world.settle()
    assert len(world.blank()) == 2
    assert gone not in world.blank()
    assert f"{gone}-tls" not in world.secrets()


async def test_deleting_a_session_leaves_nothing_of_its_warm_pod(world):
    await fill(world, 1)
    world.add_session()
    await world.settle()
    pod = world.status()["podName"]
    world.kube.remove(SESSIONS, NAMESPACE, "one")
    await world.settle()
    assert pod not in world.pods()
    assert f"{pod}-tls" not in world.secrets()
    assert "one-access" not in world.secrets()


async def test_a_suspended_session_resumes_in_another_warm_pod_with_the_same_token(world):
    await fill(world, 1)
    world.add_session()
    await world.settle()
    first = world.status()["podName"]
    world.kube.change(SESSIONS, NAMESPACE, "one", {"spec": {"suspended": True}})
    await world.settle()
    assert world.status()["phase"] == "Suspended"
    assert first not in world.pods()
    world.kube.change(SESSIONS, NAMESPACE, "one", {"spec": {"suspended": False}})
    await world.settle()
    assert world.status()["phase"] == "Ready"
    assert world.status()["startup"]["source"] == "Warm"
    assert world.status()["podName"] != first
    assert world.agents.requests[0].token_sha256 == world.agents.requests[1].token_sha256


async def test_the_lifetime_begins_with_the_claim_not_with_the_pod(world):
    await fill(world, 1)
    world.clock.advance(hours=7, minutes=50)
    world.add_session()
    await world.settle()
    assert world.agents.requests[0].lifecycle.max_lifetime.seconds == 8 * 3600
    await world.operator.list_all()
    world.clock.advance(minutes=12)
    await world.operator.list_all()
    await world.settle()
    assert world.status()["phase"] == "Ready"


async def test_a_lost_claim_goes_on_with_the_next_pod(world):
    await fill(world, 2)
    first, second = sorted(world.blank())
    for pod, node in ((first, "node-a"), (second, "node-b")):
        world.kube.change(PODS, NAMESPACE, pod, {"spec": {"nodeName": node}})
    thief = {"metadata": {"labels": {naming.STATE: "bound"}, "ownerReferences": []}}
    # Behind the operator's back: its watch does not tell it in time.
    watchers, world.kube.watchers[:] = list(world.kube.watchers), []
    world.kube.change(PODS, NAMESPACE, first, thief)
    world.kube.watchers[:] = watchers
    world.add_session()
    await world.settle()
    assert world.status()["phase"] == "Ready"
    assert world.status()["startup"]["source"] == "Warm"
    assert world.status()["podName"] == second
    assert world.operator.metrics.claim_conflicts._value.get() == 1


async def test_a_claim_whose_answer_was_lost_is_found_again(world):
    await fill(world, 2)
    real, lost = world.kube.patch, []

    async def lose_first_answer(resource, *rest, **more):
        answer = await real(resource, *rest, **more)
        if resource is PODS and not lost:
            lost.append(answer)
            raise UnavailableError(0, "Timeout", "no answer")
        return answer

    watchers, world.kube.watchers[:] = list(world.kube.watchers), []
    world.kube.patch = lose_first_answer
    world.add_session()
    world.kube.watchers[:] = watchers
    await world.operator.list_all()
    key = (SESSIONS.plural, NAMESPACE, "one")
    with pytest.raises(UnavailableError):
        await world.operator.work(key)
    await world.operator.work(key)
    await world.settle()
    assert world.status()["phase"] == "Ready"
    assert world.status()["podName"] == lost[0]["metadata"]["name"]
    owned = [pod for pod in world.pods() if pod not in world.blank()]
    assert owned == [world.status()["podName"]]


async def test_a_pod_whose_creation_was_not_answered_is_replaced_by_one(world):
    world.add_template()
    real, lost = world.kube.create, []

    async def lose_first_answer(resource, namespace, body):
        answer = await real(resource, namespace, body)
        if resource is PODS and not lost:
            lost.append(answer)
            raise UnavailableError(0, "Timeout", "no answer")
        return answer

    world.kube.create = lose_first_answer
    world.add_pool(replicas=1)
    watchers, world.kube.watchers[:] = list(world.kube.watchers), []
    with pytest.raises(UnavailableError):
        await world.operator.work((POOLS.plural, NAMESPACE, "pool"))
    await world.operator.work((POOLS.plural, NAMESPACE, "pool"))
    world.kube.watchers[:] = watchers
    await world.settle()
    assert len(world.pods()) == 1
    assert world.pods().keys() != {lost[0]["metadata"]["name"]}
    assert pool_condition(world)[1] == "Ready"


async def test_a_second_pod_of_a_session_from_a_late_claim_is_deleted(world):
    await fill(world, 1)
    world.add_session()
    await world.settle()
    uid, serving = world.session()["metadata"]["uid"], world.status()["podName"]
    (late,) = world.blank()
    owner = {**world.pods()[serving]["metadata"]["ownerReferences"][0]}
    change = {"labels": {naming.STATE: "bound", naming.SESSION: uid}, "ownerReferences": [owner]}
    world.kube.change(PODS, NAMESPACE, late, {"metadata": change})
    await world.settle()
    assert late not in world.pods()
    assert world.status()["podName"] == serving
    assert world.status()["phase"] == "Ready"


async def test_a_pool_of_a_missing_template_says_so_and_is_filled_when_it_comes(world):
    world.add_pool(template="missing")
    await world.settle()
    message = "spec.templateRef.name: there is no SandboxTemplate missing in this namespace"
    assert pool_condition(world) == ("False", "TemplateNotFound", message)
    world.add_template("missing")
    await world.settle()
    assert pool_condition(world)[1] == "Ready"


async def test_a_template_that_is_replaced_loses_no_blank_pod(world):
    await fill(world)
    before = world.blank()
    world.kube.remove(TEMPLATES, NAMESPACE, "default")
    await world.settle()
    assert pool_condition(world)[1] == "TemplateNotFound"
    world.add_template()
    await world.settle()
    assert world.blank() == before
    assert pool_condition(world)[1] == "Ready"


async def test_a_pool_that_cannot_be_parsed_says_which_field(world):
    await fill(world)
    world.kube.change(POOLS, NAMESPACE, "pool", {"spec": {"replicas": -1}})
    await world.settle()
    status, reason, message = pool_condition(world)
    assert (status, reason) == ("False", "InvalidSpec")
    assert message.startswith("spec.replicas:")
    assert len(world.blank()) == 2


async def test_a_refused_pod_is_named_and_not_tried_for_every_replica(world):
    world.add_template()
    real, tried = world.kube.create, []

    async def refuse(resource, namespace, body):
        if resource is PODS:
            tried.append(body)
            raise ForbiddenError(403, "Forbidden", "exceeded quota")
        return await real(resource, namespace, body)

    world.kube.create = refuse
    world.add_pool(replicas=50)
    await world.settle()
    assert pool_condition(world)[:2] == ("False", "PodRefused")
    assert "exceeded quota" in pool_condition(world)[2]
    assert len(tried) < 5


async def test_an_image_that_cannot_be_pulled_is_named_by_the_pool(world):
    world.add_template()
    world.add_pool(replicas=1)
    await world.operator.settle()
    (pod,) = world.pods()
    waiting = {"name": "sandbox", "image": "none:1", "state": {"waiting": {"reason": "ErrImagePull"}}}
    world.kube.change(PODS, NAMESPACE, pod, {"status": {"phase": "Pending", "containerStatuses": [waiting]}})
    await world.operator.settle()
    assert pool_condition(world) == (
        "False",
        "ImagePullFailed",
        "container sandbox: image none:1: cannot be pulled",
    )


async def test_a_blank_pod_that_ended_is_replaced_once_it_is_old_enough(world):
    await fill(world, 1)
    (pod,) = world.blank()
    world.kube.change(PODS, NAMESPACE, pod, {"status": {"phase": "Failed", "reason": "Evicted"}})
    await world.settle()
    assert world.blank() == {pod}
    world.clock.advance(seconds=11)
    await world.operator.list_all()
    await world.settle()
    assert len(world.blank()) == 1
    assert pod not in world.blank()


async def test_blank_pods_are_renewed_one_by_one_before_their_certificates_are_too_old(world):
    await fill(world, 3)
    old = world.blank()
    world.clock.advance(days=1, minutes=1)
    await world.operator.list_all()
    await world.settle()
    assert len(world.blank()) == 3
    assert not world.blank() & old


async def test_a_pool_at_rest_is_not_written_again(world):
    await fill(world, 3)
    before = len(world.kube.calls)
    await world.operator.list_all()
    await world.settle()
    assert writes(world, before) == []


async def test_a_pool_without_a_free_pod_is_told_as_0_and_one_that_wants_none_is_not_told(world):
    await fill(world, 1)
    world.add_template("spare")
    world.add_pool("none-wanted", 0, "spare")
    counts = world.operator.available_pods.counts
    await world.settle()
    assert counts() == {(NAMESPACE, "default"): 1}
    (pod,) = world.blank()
    world.kube.change(PODS, NAMESPACE, pod, {"status": {"conditions": [{"type": "Ready", "status": "False"}]}})
    assert counts() == {(NAMESPACE, "default"): 0}


@pytest.mark.parametrize("error", [UnavailableError(503, "ServiceUnavailable", "no"), NotLeadingError("no")])
async def test_a_deletion_whose_end_is_unknown_keeps_its_pod_from_nobody(world, error):
    await fill(world, 3)
    real, failures = world.kube.delete, [error]

    async def delete(*arguments, **options):
        if failures:
            raise failures.pop()
        return await real(*arguments, **options)

    world.kube.delete = delete
    world.kube.change(POOLS, NAMESPACE, "pool", {"spec": {"replicas": 2}})
    key = (POOLS.plural, NAMESPACE, "pool")
    with pytest.raises(type(error)):
        await world.operator.work(key)
    assert not world.operator.available_pods.held
    await world.operator.work(key)
    await world.settle()
    status = world.pool()["status"]
    assert (status["replicas"], status["readyReplicas"]) == (2, 2)


async def test_a_pod_that_can_neither_be_claimed_nor_discarded_now_is_kept_from_nobody(world):
    await fill(world, 1)
    (pod,) = world.blank()
    real_patch, real_delete, refusals = world.kube.patch, world.kube.delete, [1]

    async def patch(resource, *rest, **more):
        if resource is PODS and refusals:
            raise InvalidError(422, "Invalid", "no")
        return await real_patch(resource, *rest, **more)

    async def delete(resource, *rest, **more):
        if resource is PODS and refusals.pop():
            raise ConflictError(409, "Conflict", "a kubelet's status came between")
        return await real_delete(resource, *rest, **more)

    world.kube.patch, world.kube.delete = patch, delete
    world.add_session()
    await world.operator.work((SESSIONS.plural, NAMESPACE, "one"))
    assert world.status()["phase"] == "Ready"
    assert (world.status()["startup"]["source"], world.status()["podName"]) == ("Warm", pod)
    assert not world.operator.available_pods.held
