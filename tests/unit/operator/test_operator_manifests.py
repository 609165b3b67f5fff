"""Whole manifests, as docs/pod-contract.md has them."""

import pytest

from sandbox_operator.api.models import Session, Template, parse
from sandbox_operator.api.session_spec import Egress, Resources
from sandbox_operator.errors import SettingsError, SpecError
from sandbox_operator.manifests.network_policy import build_network_policy
from sandbox_operator.manifests.pod import PodRequest, build_pod
from sandbox_operator.settings import Images, Settings, load_settings

META = {"namespace": "team", "uid": "u-1", "creationTimestamp": "2026-01-01T00:00:00Z"}
SESSION = parse(Session, {"metadata": {"name": "one", **META}})
OWNER = {
    "apiVersion": "sandboxsessions.dev/v1alpha1",
    "kind": "SandboxSession",
    "name": "one",
    "uid": "u-1",
    "controller": True,
}


def make_template(**spec):
    return parse(Template, {"metadata": {"name": "default", **META}, "spec": {"image": "sandbox:1", **spec}})


def security_context(uid, gid=None):
    return {
        "runAsUser": uid,
        "runAsGroup": gid or uid,
        "runAsNonRoot": True,
        "privileged": False,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def build(template, session=SESSION):
    resources = Resources(requests={"cpu": "1"}, limits={"cpu": "2"})
    return build_pod(PodRequest(session, template, Egress.NONE, resources, Images("agent:1", "sandbox:default")))


def sandbox_uid(pod):
    return pod["spec"]["containers"][1]["securityContext"]["runAsUser"]


def test_the_pod_is_the_one_of_the_contract():
    pod = build(make_template())
    name = pod["metadata"]["name"]
    assert pod["metadata"] == {
        "name": name,
        "namespace": "team",
        "labels": {
            "sandboxsessions.dev/managed-by": "sandbox-operator",
            "sandboxsessions.dev/state": "bound",
            "sandboxsessions.dev/template": "default",
            "sandboxsessions.dev/egress": "none",
            "sandboxsessions.dev/session": "u-1",
        },
        "ownerReferences": [OWNER],
    }
    spec = pod["spec"]
    agent, sandbox = spec.pop("containers")
    volumes = spec.pop("volumes")
    assert spec == {
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "shareProcessNamespace": False,
        "hostNetwork": False,
        "hostPID": False,
        "hostIPC": False,
        "securityContext": {
            "runAsNonRoot": True,
            "fsGroup": 10000,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    uid = sandbox["securityContext"]["runAsUser"]
    assert 10**9 <= uid < 2 * 10**9
    assert sandbox == {
        "name": "sandbox",
        "image": "sandbox:1",
        "imagePullPolicy": "IfNotPresent",
        "command": ["sandbox-runtime"],
        "env": [{"name": "SANDBOX_STOP_SECONDS", "value": "25"}, {"name": "SANDBOX_DENY_NETWORK", "value": "1"}],
        "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}},
        "terminationMessagePath": "/root/termination-log",
        "securityContext": security_context(uid, gid=10002),
        "volumeMounts": [
            {"name": "link", "mountPath": "/run/sandbox"},
            {"name": "workspace", "mountPath": "/workspace"},
            {"name": "home", "mountPath": "/home/sandbox"},
            {"name": "sandbox-tmp", "mountPath": "/tmp"},
        ],
    }
    assert (agent["image"], agent["command"]) == ("agent:1", ["sandbox-agent", "serve"])
    assert agent["securityContext"] == security_context(10001)
    assert [mount["mountPath"] for mount in agent["volumeMounts"]] == ["/run/sandbox", "/etc/sandbox/tls", "/tmp"]
    assert {port["name"]: port["containerPort"] for port in agent["ports"]} == {
        "grpc": 8443,
        "control": 8444,
        "health": 8081,
    }
    assert all("sizeLimit" in volume["emptyDir"] for volume in volumes if "emptyDir" in volume)
    assert volumes[-1] == {"name": "tls", "secret": {"secretName": f"{name}-tls", "defaultMode": 0o440}}


def test_a_template_without_an_image_has_the_operators():
    assert build(make_template(image=""))["spec"]["containers"][1]["image"] == "sandbox:default"


def test_each_pods_sandbox_has_a_user_id_of_its_own_that_stays_the_same():
    uids = {
        sandbox_uid(
            build(make_template(), parse(Session, {"metadata": {"name": f"s{number}", **META, "uid": f"{number}"}}))
        )
        for number in range(500)
    }
    assert len(uids) == 500
    assert sandbox_uid(build(make_template())) == sandbox_uid(build(make_template()))


def test_in_a_user_namespace_of_its_own_the_sandbox_has_the_images_user_id():
    assert sandbox_uid(build(make_template(hostUsers=False))) == 10002


def test_the_pods_name_is_the_same_each_time_and_bounded():
    name = build(make_template())["metadata"]["name"]
    assert name == build(make_template())["metadata"]["name"]
    assert name.startswith("sbx-one-")
    long = parse(Session, {"metadata": {"name": "n" * 63, **META}})
    pod = build_pod(PodRequest(long, make_template(), Egress.NONE, Resources(), Images("agent:1", "sandbox:default")))
    assert len(pod["metadata"]["name"]) == 4 + 40 + 9


def test_placement_and_runtime_come_from_the_template_only():
    toleration = {"key": "sandbox", "operator": "Exists"}
    template = make_template(
        runtimeClassName="gvisor", hostUsers=False, nodeSelector={"pool": "x"}, tolerations=[toleration]
    )
    spec = build(template)["spec"]
    assert spec["runtimeClassName"] == "gvisor"
    assert spec["hostUsers"] is False
    assert spec["nodeSelector"] == {"pool": "x"}
    assert spec["tolerations"] == [toleration]


def policy(egress, template=None, **settings):
    return build_network_policy(template or make_template(), egress, Settings(namespace="system", **settings))["spec"]


def test_without_egress_only_the_storage_is_reached():
    storage = {
        "storage_bucket": "b",
        "storage_endpoint": "http://10.9.9.9:9000",
        "storage_cidrs": ("10.9.9.9/32",),
        "storage_port": 9000,
    }
    spec = policy(Egress.NONE, **storage)
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert spec["egress"] == [
        {"to": [{"ipBlock": {"cidr": "10.9.9.9/32"}}], "ports": [{"protocol": "TCP", "port": 9000}]}
    ]
    assert spec["ingress"] == [
        {
            "from": [{"podSelector": {"matchLabels": {"sandboxsessions.dev/client": "true"}}}],
            "ports": [{"protocol": "TCP", "port": 8443}],
        },
        {
            "from": [
                {
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "system"}},
                    "podSelector": {"matchLabels": {"app.kubernetes.io/name": "sandbox-operator"}},
                }
            ],
            "ports": [{"protocol": "TCP", "port": 8443}, {"protocol": "TCP", "port": 8444}],
        },
    ]
    assert policy(Egress.NONE)["egress"] == []


def test_public_egress_leaves_out_what_is_private():
    blocks = policy(Egress.PUBLIC)["egress"][-1]["to"]
    assert [block["ipBlock"]["cidr"] for block in blocks] == ["0.0.0.0/0", "::/0"]
    v4, v6 = (block["ipBlock"]["except"] for block in blocks)
    assert {"169.254.0.0/16", "100.64.0.0/10", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"} <= set(v4)
    special = {"168.63.129.16/32", "192.0.0.0/24", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4"}
    assert special <= set(v4)
    assert {"fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8", "64:ff9b:1::/48", "2002::/16"} <= set(v6)


def test_the_installer_may_forbid_further_addresses_in_every_mode():
    settings = Settings(
        never_reachable=("203.0.113.10/32", "2001:db8::/64"),
        storage_bucket="b",
        storage_cidrs=("203.0.113.0/24", "10.0.0.0/8"),
        storage_endpoint="http://203.0.113.7",
    )
    template = make_template(egress={"mode": "Allowlist", "allow": [{"cidr": "203.0.0.0/16"}]})
    egress = build_network_policy(template, Egress.ALLOWLIST, settings)["spec"]["egress"]
    assert egress[0]["to"] == [
        {"ipBlock": {"cidr": "203.0.113.0/24", "except": ["203.0.113.10/32"]}},
        {"ipBlock": {"cidr": "10.0.0.0/8"}},
    ]
    assert egress[-1]["to"] == [{"ipBlock": {"cidr": "203.0.0.0/16", "except": ["203.0.113.10/32"]}}]
    forbidden = make_template(egress={"mode": "Allowlist", "allow": [{"cidr": "203.0.113.10/32"}]})
    with pytest.raises(SpecError, match="never allowed"):
        build_network_policy(forbidden, Egress.ALLOWLIST, settings)


@pytest.mark.parametrize("name", ["STORAGE_CIDRS", "TRACING_CIDRS"])
@pytest.mark.parametrize("cidr", ["0.0.0.0/0", "128.0.0.0/1", "::/0", "2000::/3"])
def test_an_endpoint_is_not_nearly_every_address(name, cidr):
    with pytest.raises(SettingsError, match=f"{name}.*name the endpoint's own"):
        load_settings({f"SANDBOX_OPERATOR_{name}": cidr})


def test_an_allowlist_is_what_the_template_says_without_private_parts():
    template = make_template(egress={"mode": "Allowlist", "allow": [{"cidr": "8.0.0.0/6", "ports": [{"port": 443}]}]})
    assert policy(Egress.ALLOWLIST, template)["egress"][-1] == {
        "to": [{"ipBlock": {"cidr": "8.0.0.0/6", "except": ["10.0.0.0/8"]}}],
        "ports": [{"protocol": "TCP", "port": 443}],
    }


@pytest.mark.parametrize("cidr", ["169.254.169.254/32", "10.1.0.0/16", "fd00::/8", "nonsense", "1.2.3.4/8"])
def test_an_allowlist_with_a_forbidden_address_names_the_field(cidr):
    template = make_template(egress={"mode": "Allowlist", "allow": [{"cidr": cidr}]})
    with pytest.raises(SpecError, match=r"spec\.egress\.allow\.0\.cidr"):
        policy(Egress.ALLOWLIST, template)


def test_agents_load_their_storage_client_early_where_there_is_a_bucket():
    storage = {"storage_endpoint": "http://s:9", "storage_region": "r", "storage_path_style": True}
    told = {"SANDBOX_PRELOAD_STORAGE": '{"endpoint":"http://s:9","region":"r","path_style":true}'}
    for bucket, expected in (("", {}), ("b", told)):
        images = Settings(storage_bucket=bucket, **storage).images
        pod = build_pod(PodRequest(SESSION, make_template(), Egress.NONE, Resources(), images))
        env = {variable["name"]: variable["value"] for variable in pod["spec"]["containers"][0]["env"]}
        assert env == {"SANDBOX_STOP_SECONDS": "25", **expected}


def test_agents_serve_reflection_if_the_operator_is_set_to():
    for is_on, expected in ((False, {}), (True, {"SANDBOX_REFLECTION": "1"})):
        images = Settings(agent_reflection=is_on).images
        pod = build_pod(PodRequest(SESSION, make_template(), Egress.NONE, Resources(), images))
        env = {variable["name"]: variable["value"] for variable in pod["spec"]["containers"][0]["env"]}
        assert env == {"SANDBOX_STOP_SECONDS": "25", **expected}


@pytest.mark.parametrize(("mode", "is_told"), [("None", True), ("Public", False)])
def test_a_sandbox_is_told_before_its_session_where_no_session_can_have_a_network(mode, is_told):
    env = build(make_template(egress={"mode": mode}))["spec"]["containers"][1]["env"]
    assert ({"name": "SANDBOX_DENY_NETWORK", "value": "1"} in env) is is_told


def test_fault_22_a_pod_ends_later_than_the_last_push_in_it():
    """A pod's grace period is longer than the last push may take."""
    spec = build(make_template())["spec"]
    told = [{item["name"]: item["value"] for item in container["env"]} for container in spec["containers"]]
    (seconds,) = {int(variables["SANDBOX_STOP_SECONDS"]) for variables in told}
    assert 0 < seconds <= spec["terminationGracePeriodSeconds"] - 3, "the runtime needs some seconds for its own end"
