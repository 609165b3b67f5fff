"""Who reaches whom: places that listen, every one an address of this machine, and a probe that tries to connect."""

import http.server
import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.e2e.support.kubectl import Kubectl, Object, poll, run

Places = dict[str, tuple[str, int] | tuple[str, int, str]]
"""Host and port of each place by its name; a third part makes it one that answers datagrams."""

CLIENT_LABEL = {"sandboxsessions.dev/client": "true"}
METADATA_IP = "169.254.169.254"
PROBE = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor
def attempt(place):
    host, port, *datagram = place
    try:
        if not datagram:
            socket.create_connection((host, port), 2).close()
            return "connected"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(2)
            sock.sendto(b"?", (host, port))
            return "connected" if sock.recv(1) else "nothing"
    except OSError as error:
        return type(error).__name__
with ThreadPoolExecutor(32) as pool:
    print(json.dumps(list(pool.map(attempt, json.loads(sys.argv[1])))))
"""
"""A Python program: tries each place of its argument, prints what became of each."""


@contextmanager
def on_loopback(address: str) -> Iterator[None]:
    """Make an address this machine's own, so that nothing sent to it leaves the machine."""
    run("ip", "addr", "replace", f"{address}/32", "dev", "lo")
    try:
        assert run("ip", "route", "get", address).startswith("local "), f"{address} is not this machine's"
        yield
    finally:
        run("ip", "addr", "del", f"{address}/32", "dev", "lo")


@contextmanager
def serving(address: str, port: int) -> Iterator[None]:
    """Listen there."""
    with running(http.server.ThreadingHTTPServer((address, port), http.server.BaseHTTPRequestHandler)):
        yield


@contextmanager
def answering(address: str, port: int) -> Iterator[None]:
    """Answer datagrams there, as a name server would."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            data, sock = self.request
            sock.sendto(data, self.client_address)

    with running(socketserver.UDPServer((address, port), Handler)):
        yield


@contextmanager
def running(server: socketserver.BaseServer) -> Iterator[None]:
    """Serve in a thread, and close the server at the end."""
    with server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def plain_pod(kubectl: Kubectl, name: str, image: str, labels: dict[str, str] | None = None) -> Iterator[str]:
    """A pod that no policy of ours selects, listening on port 8000; its address."""
    kubectl.apply(_build_pod(name, image, labels or {}))
    try:
        yield poll(f"pod {name} listens", lambda: _ready_address(kubectl, name), timeout=90)
    finally:
        kubectl.delete("pod", name, "--grace-period=0", "--force")


def reached_from(kubectl: Kubectl, pod: str, container: str, python: str, places: Places) -> set[str]:
    """What a process started in a container by hand reaches: in a sandbox, without the runtime's socket filter."""
    return connected(kubectl.execute(pod, container, python, "-c", PROBE, argument(places), timeout=90), places)


def argument(places: Places) -> str:
    """The probe's argument."""
    return json.dumps(list(places.values()))


def connected(output: str, places: Places) -> set[str]:
    """The names of those places that the probe reached."""
    return {name for name, answer in zip(places, json.loads(output), strict=True) if answer == "connected"}


def _build_pod(name: str, image: str, labels: dict[str, str]) -> Object:
    restricted = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "runAsUser": 10003,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {
        "name": "main",
        "image": image,
        "command": ["python3", "-m", "http.server", "8000", "--directory", "/var/empty"],
        "readinessProbe": {"tcpSocket": {"port": 8000}, "periodSeconds": 1},
        "securityContext": restricted,
    }
    spec = {"containers": [container], "automountServiceAccountToken": False, "enableServiceLinks": False}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}


def _ready_address(kubectl: Kubectl, name: str) -> str:
    status = kubectl.get("pod", name).get("status", {})
    ready = any(item["type"] == "Ready" and item["status"] == "True" for item in status.get("conditions", []))
    return status.get("podIP", "") if ready else ""
