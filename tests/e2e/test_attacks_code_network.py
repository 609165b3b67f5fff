"""Attempts to leave a sandbox: rows 19 and 20, DNS, and other buckets of the storage.

Every row makes sense on every isolation. The cluster has no IPv6, so an address of it shows only that nothing goes out.
"""

import errno
import json
from collections.abc import Iterator

import pytest

from sandbox_client import Sandbox
from tests.e2e.support import kernel
from tests.e2e.support.isolations import Hostile, open_hostile
from tests.e2e.support.kubectl import Kubectl
from tests.e2e.support.platform import NODE_IP, SECOND_IP, Platform
from tests.e2e.support.reach import (
    CLIENT_LABEL,
    METADATA_IP,
    PROBE,
    Places,
    answering,
    argument,
    connected,
    on_loopback,
    plain_pod,
    reached_from,
    serving,
)

# An address for documentation, which no machine has. Tests add it and the metadata address to this machine.
ALLOWED_IP = "203.0.113.10"
JAVASCRIPT_PROBE = """
import net from "node:net"
const attempt = ([host, port]) => new Promise((resolve) => {{
  const socket = net.connect({{ host, port, timeout: 2000 }})
  socket.on("connect", () => {{ socket.destroy(); resolve("connected") }})
  socket.on("timeout", () => {{ socket.destroy(); resolve("TIMEOUT") }})
  socket.on("error", (error) => resolve(error.code))
}})
console.log(JSON.stringify(await Promise.all({places}.map(attempt))))
"""


@pytest.fixture(scope="module")
def listeners(own_node: Platform, kubectl: Kubectl) -> Iterator[Places]:
    """Places by name. All do listen, and the probe does see it, from a pod that no policy selects."""
    service = kubectl.within("default").get("service", "kubernetes")["spec"]["clusterIP"]
    with (
        on_loopback(ALLOWED_IP),
        on_loopback(METADATA_IP),
        serving(ALLOWED_IP, 8000),
        serving(ALLOWED_IP, 53),
        serving(METADATA_IP, 80),
        serving(SECOND_IP, 8000),
        serving(SECOND_IP, 53),
        answering(ALLOWED_IP, 53),
        answering(SECOND_IP, 53),
        answering(METADATA_IP, 53),
        plain_pod(kubectl, "listener", own_node.image("sandbox-slim"), CLIENT_LABEL) as address,
        open_hostile(own_node, kubectl, "runc", "None") as neighbour,
    ):
        other = neighbour.sessions.pod(neighbour.name)["status"]["podIP"]
        places: Places = {
            "allowed": (ALLOWED_IP, 8000),
            "public names by TCP": (ALLOWED_IP, 53),
            "public names by UDP": (ALLOWED_IP, 53, "udp"),
            "private names by TCP": (SECOND_IP, 53),
            "private names by UDP": (SECOND_IP, 53, "udp"),
            "metadata": (METADATA_IP, 80),
            "metadata's names": (METADATA_IP, 53, "udp"),
            "pod": (address, 8000),
            "other session": (other, 8443),
            "node": (SECOND_IP, 8000),
            "API server": (NODE_IP, 6443),
            "API server's Service": (service, 443),
            "kubelet": (NODE_IP, 10250),
            "etcd": (NODE_IP, 2379),
            "storage": (NODE_IP, 9000),
        }
        assert reached_from(kubectl, "listener", "main", "python3", places) == set(places)
        yield places


@pytest.fixture(scope="module")
def closed(hostile: Hostile, platform: Platform, kubectl: Kubectl) -> Iterator[Hostile]:
    """A hostile session of the same isolation with egress None."""
    with open_hostile(platform, kubectl, hostile.isolation, "None") as closed:
        yield closed


def test_attack_19_20_without_egress_user_code_gets_no_socket_and_the_policy_alone_leaves_only_storage(
    closed: Hostile, listeners: Places, kubectl: Kubectl
):
    with closed.unharmed():
        assert_refused_by_the_kernel(closed.sandbox, listeners)
        # A process beside the runtime is without its socket filter: what the NetworkPolicy says, seen alone.
        assert reached_from(kubectl, closed.pod, "sandbox", "python3", listeners) == {"storage"}


def test_attack_of_old_and_rare_parts_of_the_kernel_without_egress_leaves_unix_sockets_only(closed: Hostile):
    with closed.unharmed():
        refused, allowed = closed.run(kernel.PROBE)
        # A user namespace would give rights over a network of its own.
        unshared = closed.sandbox.run("unshare -Urn true; unshare -U true")
    assert refused == kernel.expected(refused)
    assert allowed == {name: 0 if name == "AF_UNIX" else errno.EACCES for name in allowed}
    assert unshared.stderr.count("Permission denied") == 2, unshared


def assert_refused_by_the_kernel(sandbox: Sandbox, places: Places) -> None:
    """User code of every kind gets no socket at all, which tells the filter from a policy's silence."""
    sandbox.files.write("probe.py", PROBE)
    command = sandbox.run(["python3", "probe.py", argument(places)])
    assert command.stdout.count("PermissionError") == len(places), command
    cell = sandbox.run_code(f"import sys\nsys.argv = ['', {argument(places)!r}]\n{PROBE}")
    assert cell.stdout.count("PermissionError") == len(places), cell
    script = sandbox.run_code(JAVASCRIPT_PROBE.format(places=argument(places)), language="javascript")
    assert script.stdout.count("EACCES") == len(places), script
    shell = sandbox.run("for host in 127.0.0.1 localhost; do exec 3<>/dev/tcp/$host/8443 && echo connected; done")
    assert "connected" not in shell.stdout


def test_attack_19_20_with_public_egress_user_code_reaches_public_addresses_and_storage_only(
    attacker: Hostile, listeners: Places
):
    found = attacker.run(PROBE, argument(listeners))
    public = {"allowed", "public names by TCP", "public names by UDP", "storage"}
    assert connected(json.dumps(found), listeners) == public
    # Metadata services of clouds, cluster addresses and the node's own, in IPv6 and in IPv4 inside IPv6.
    others = ["fd00:ec2::254", "fe80::a9fe:a9fe", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", f"::ffff:{NODE_IP}"]
    places = {address: (address, 80 if "169" in address or "a9fe" in address else 6443) for address in others}
    assert "connected" not in attacker.run(PROBE, argument(places))


def test_attack_19_20_an_allowlist_lets_through_just_that_and_no_names_beside_it(
    hostile: Hostile, listeners: Places, platform: Platform, kubectl: Kubectl
):
    allow = [{"cidr": f"{ALLOWED_IP}/32", "ports": [{"port": 8000}]}]
    with (
        open_hostile(platform, kubectl, hostile.isolation, "Allowlist", allow=allow) as attacker,
        attacker.unharmed(),
    ):
        found = attacker.run(PROBE, argument(listeners))
    assert connected(json.dumps(found), listeners) == {"allowed", "storage"}


BUCKETS = """
import json, sys, urllib.error, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
endpoint, bucket, key = sys.argv[1:]
def attempt(method, path):
    data = b"x" if method in ("PUT", "POST") else None
    try:
        return opener.open(urllib.request.Request(endpoint + path, data, method=method), timeout=10).status
    except urllib.error.HTTPError as error:
        return error.code
attacks = [("GET", "/"), ("PUT", "/planted"), ("GET", "/minio/admin/v3/info"), ("POST", "/?Action=AssumeRole")]
attacks += [("GET", f"/{bucket}{query}") for query in ("", "?list-type=2", "?policy")]
attacks += [("POST", f"/{bucket}?delete"), ("POST", f"/{bucket}/planted?uploads"), ("PUT", f"/{bucket}/planted")]
attacks += [(method, f"/{bucket}/{key}") for method in ("GET", "HEAD", "PUT", "DELETE")]
print(json.dumps({f"{method} {path}": attempt(method, path) for method, path in attacks}))
"""


@pytest.mark.parametrize("which", ["its own bucket", "another bucket"])
def test_attack_of_other_buckets_without_credentials_the_storage_gives_and_takes_nothing(
    attacker: Hostile, platform: Platform, which: str
):
    """User code with egress reaches the endpoint, and could send data out through a bucket that takes it."""
    storage = platform.storage
    client, bucket = storage.client(), storage.bucket if which == "its own bucket" else "another-bucket"
    if bucket != storage.bucket and platform.is_own:
        client.create_bucket(Bucket=bucket)
    key = f"{storage.prefix}/victim.txt"
    client.put_object(Bucket=bucket, Key=key, Body=b"victim")
    try:
        found = attacker.run(BUCKETS, storage.endpoint, bucket, key)
        assert all(status in {400, 403} for status in found.values()), found
        assert client.get_object(Bucket=bucket, Key=key)["Body"].read() == b"victim"
    finally:
        client.delete_object(Bucket=bucket, Key=key)
        if bucket != storage.bucket:
            client.delete_bucket(Bucket=bucket)
