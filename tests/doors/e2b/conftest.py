"""A gateway for E2B's own SDK, which runs unmodified. Nothing here needs our packages: any release of the SDK works.

Another interpreter runs the gateway if `GATEWAY_PYTHON` names one.
"""

import contextlib
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import pytest

sdk = pytest.importorskip("e2b_code_interpreter", reason="needs E2B's SDK: pip install e2b-code-interpreter")

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def is_up(url):
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2) as response:
        return response.status == 200
    return False


@pytest.fixture(scope="module")
def gateway():
    """The address of a gateway with sessions on this machine. The environment leads E2B's SDK to it.

    It ends with its module: tests elsewhere kill what the test process started without a mark.
    """
    address = f"127.0.0.1:{free_port()}"
    path = os.pathsep.join(str(ROOT / each) for each in (".", "proto"))
    # A long path would be replaced by /tmp.
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as folder, pytest.MonkeyPatch.context() as patch:
        homes = {"XDG_STATE_HOME": f"{folder}/state", "XDG_DATA_HOME": f"{folder}/data", "TMPDIR": folder}
        environment = {**os.environ, **homes, "PYTHONPATH": path}
        python = os.environ.get("GATEWAY_PYTHON", sys.executable)
        command = [python, "-m", "sandbox_client", "gateway"]
        where = ["--listen", address, "--domain", "sandboxes.test"]
        with subprocess.Popen([*command, *where], env=environment) as process:
            try:
                deadline = time.monotonic() + 30
                while not is_up(f"http://{address}/healthz"):
                    assert process.poll() is None, "the gateway ended"
                    assert time.monotonic() < deadline, "the gateway does not answer"
                    time.sleep(0.1)
                told = subprocess.check_output([*command, "env", *where, "--for", "e2b"], env=environment, text=True)
                for line in shlex.split(told.replace("export ", "")):
                    name, _, value = line.partition("=")
                    patch.setenv(name, value)
                yield f"http://{address}"
                delete_all()
            finally:
                process.send_signal(signal.SIGINT)
                process.wait(30)


def delete_all():
    paginator = sdk.Sandbox.list()
    while paginator.has_next:
        for info in paginator.next_items():
            sdk.Sandbox.kill(info.sandbox_id)


@pytest.fixture(scope="module")
def shared(gateway):
    """A sandbox for tests that leave nothing behind."""
    sandbox = sdk.Sandbox.create(timeout=1200, envs={"GREETING": "hello"})
    yield sandbox
    sandbox.kill()


@pytest.fixture
def new(gateway):
    """Creates sandboxes, which end with the test."""
    made = []

    def create(*arguments, **options):
        made.append(sdk.Sandbox.create(*arguments, **options))
        return made[-1]

    yield create
    for sandbox in made:
        sandbox.kill()
