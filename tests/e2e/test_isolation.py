"""What a sandbox cannot reach, and who cannot reach a sandbox: network, tokens, certificates."""

import grpc

from tests.e2e.support.calls import CONTROL_METHODS, DESCRIBE, call
from tests.e2e.support.forgery import client_certificate
from tests.e2e.support.kubectl import Kubectl, poll
from tests.e2e.support.platform import NODE_IP, Platform
from tests.e2e.support.reach import CLIENT_LABEL, METADATA_IP, plain_pod, reached_from
from tests.e2e.support.sessions import Sessions, build_template
from tests.e2e.support.wire import open_channel


def test_an_allowlist_never_holds_the_metadata_address_nor_the_clusters(
    kubectl: Kubectl, sessions: Sessions, image: str
):
    for number, cidr in enumerate((f"{METADATA_IP}/32", f"{NODE_IP}/32")):
        template = f"e2e-forbidden-{number}"
        kubectl.apply(build_template(template, image, egress={"mode": "Allowlist", "allow": [{"cidr": cidr}]}))
        name = sessions.create(templateRef={"name": template})
        poll(
            "a condition names the address",
            lambda name=name, cidr=cidr: cidr in sessions.condition(name, "Ready").get("message", ""),
            timeout=30,
        )
        assert not sessions.pod(name)


def test_only_clients_of_the_namespace_reach_a_session_and_only_its_client_port(
    kubectl: Kubectl, sessions: Sessions, image: str
):
    name = sessions.ready()
    address = sessions.pod(name)["status"]["podIP"]
    ports = {"grpc": (address, 8443), "control": (address, 8444), "health": (address, 8081)}
    elsewhere = kubectl.within("default")
    with (
        plain_pod(kubectl, "friend", image, CLIENT_LABEL),
        plain_pod(kubectl, "stranger", image),
        plain_pod(elsewhere, "outsider", image, CLIENT_LABEL),
    ):
        assert reached_from(kubectl, "friend", "main", "python3", ports) == {"grpc"}
        assert reached_from(kubectl, "stranger", "main", "python3", ports) == set()
        assert reached_from(elsewhere, "outsider", "main", "python3", ports) == set()


def test_the_control_port_takes_the_operators_certificate_only(
    own_node: Platform, system: Kubectl, kubectl: Kubectl, sessions: Sessions
):
    name = sessions.ready()
    pod = sessions.pod(name)
    address, secret = f"{pod['status']['podIP']}:8444", kubectl.secret(f"{name}-access")
    authority = system.secret("sandbox-operator-ca")
    ours = (authority["tls.crt"], authority["tls.key"])
    server = kubectl.secret(f"{pod['metadata']['name']}-tls")
    with open_channel(address, secret, client_certificate("sandbox-operator", ours)) as channel:
        assert call(channel, DESCRIBE) == grpc.StatusCode.OK
    strangers = {
        "none": None,
        "of another authority": client_certificate("sandbox-operator", None),
        "with another name": client_certificate("sandbox-operator.evil", ours),
        "the pod's own": (server["tls.key"], server["tls.crt"]),
    }
    refused = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAUTHENTICATED}
    for what, certificate in strangers.items():
        with open_channel(address, secret, certificate) as channel:
            for method in CONTROL_METHODS:
                assert call(channel, method, secret["token"].decode()) in refused, (what, method)
    with grpc.insecure_channel(address, (("grpc.enable_http_proxy", 0),)) as channel:
        assert call(channel, DESCRIBE, secret["token"].decode()) == grpc.StatusCode.UNAVAILABLE
