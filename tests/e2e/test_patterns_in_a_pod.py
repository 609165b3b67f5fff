"""R23 in a pod: the tests of `examples/patterns`. What the slim image lacks comes as wheels through the workspace."""

import contextlib
import importlib.metadata
import json
import platform
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest_asyncio

from examples.patterns import web
from sandbox_client import AsyncSandbox
from sandbox_client.cluster.api import ClusterOptions
from sandbox_client.tools import SandboxTools, cluster_sessions
from tests.e2e.support.kubectl import Kubectl
from tests.e2e.support.sessions import SESSION, build_template
from tests.integration import test_patterns as local

globals().update({name: each for name, each in vars(local).items() if name.startswith("test_r23_")})
pytestmark = local.pytestmark

NAME = "patterns"
# An address of documentation: with no egress at all a session has no sockets, and the pattern of the web needs one.
EGRESS = {"mode": "Allowlist", "allow": [{"cidr": "192.0.2.1/32"}]}
MISSING = (
    *("scikit-learn", "scipy", "joblib", "cloudpickle", "threadpoolctl", "narwhals"),
    *("requests", "urllib3", "idna", "certifi", "charset-normalizer"),
    "duckdb",
)
SERVER = f"""
import http.server, threading

class Cities(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write({json.dumps(web.CITIES).encode()!r})

    def log_message(self, *words):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Cities)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_port)
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tools(kubectl: Kubectl, tmp_path_factory) -> AsyncIterator[SandboxTools]:
    folder = tmp_path_factory.mktemp("wheels")
    fetch_wheels(folder)
    kubectl.apply(build_template(NAME, "", egress=EGRESS))
    place = ClusterOptions(kubectl.namespace, kubectl.kubeconfig)
    try:
        async with SandboxTools(cluster_sessions(NAME, place, template=NAME)) as tools:
            port = int((await tools.execute_code(SERVER)).text)
            sandbox = await AsyncSandbox.connect(NAME, namespace=kubectl.namespace, kubeconfig=kubectl.kubeconfig)
            async with sandbox:
                for wheel in folder.iterdir():
                    await sandbox.files.upload(wheel, f"wheels/{wheel.name}")
            installed = await tools.execute_command(
                "pip install --quiet --no-index --no-deps wheels/*.whl && rm -r wheels"
            )
            assert "error" not in installed.text.lower(), installed.text
            with web_server(f"http://127.0.0.1:{port}/cities"):
                yield tools
    finally:
        kubectl.delete(SESSION, NAME)


def fetch_wheels(folder: Path) -> None:
    """What the slim image lacks, in the versions of this environment, for the image's Python."""
    pins = [f"{name}=={importlib.metadata.version(name)}" for name in MISSING]
    platforms = [f"manylinux{version}_{platform.machine()}" for version in ("_2_34", "_2_28", "_2_27", "_2_17", "2014")]
    chosen = [f"--platform={each}" for each in platforms]
    target = ["--python-version=3.11", "--implementation=cp", "--abi=cp311", "--abi=abi3", "--abi=none"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", *chosen, *target]
    subprocess.run([*command, "--dest", str(folder), *pins], check=True, timeout=300)


@contextlib.contextmanager
def web_server(url: str) -> Iterator[None]:
    """The server of the pattern in the pod itself: elsewhere it could not be reached without egress."""

    @contextlib.contextmanager
    def serve() -> Iterator[str]:
        yield url

    original, web.serve = web.serve, serve
    try:
        yield
    finally:
        web.serve = original
