"""One trace from a client's call to storage, as a collector sees it, and what is there where it is off."""

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.support.span_collector import collecting, find, way_up

ROOT = Path(__file__).parents[2]
SESSION = """
import sys
from sandbox_client import Sandbox
from sandbox_proto import tracing
tracing.start("the-application")
with Sandbox.local(store=sys.argv[1], workspace=sys.argv[2]) as sandbox:
    with tracing.span("a day's work"):
        assert sandbox.run_code("open('secret-name.txt', 'w').write('secret text'); print('secret output')").ok
        sandbox.workspace.push()
tracing.stop()
"""


@pytest.fixture(scope="module")
def collector(tmp_path_factory):
    folder = tmp_path_factory.mktemp("traced")
    with collecting() as collector:
        run(SESSION, folder / "store", folder / "workspace", port=collector.port)
        yield collector


def run(code, *arguments, port=None, **variables):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    roots = os.pathsep.join(str(ROOT / root) for root in (".", "operator", "proto"))
    target = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "OTEL_BSP_SCHEDULE_DELAY": "50"}
    environment = {**kept, "PYTHONPATH": roots, **(target if port else {}), **variables}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended


def test_one_trace_leads_from_the_clients_call_through_the_agent_to_storage(collector):
    spans = collector.spans

    put = find(spans, "directory put", "WorkspaceService/Push")
    assert way_up(spans, put) == [
        "sandbox-agent: directory put",
        "sandbox-agent: sandbox.push",
        "sandbox-agent: sandbox.v1.WorkspaceService/Push",
        "the-application: sandbox.v1.WorkspaceService/Push",
        "the-application: a day's work",
    ]
    run_ = find(spans, "run", "InterpreterService")
    assert way_up(spans, run_) == [
        "sandbox-agent: run",
        "sandbox-agent: runtime execute",
        "sandbox-agent: sandbox.v1.InterpreterService/ExecuteBriefly",
        "the-application: sandbox.v1.InterpreterService/ExecuteBriefly",
        "the-application: sandbox.run",
        "the-application: a day's work",
    ]
    assert put.trace_id == run_.trace_id
    push = find(spans, "sandbox.push", "WorkspaceService/Push")
    numbers = {item.key: item.value.int_value for item in push.attributes}
    assert numbers == {"sandbox.generation": 1, "sandbox.files": 1, "sandbox.bytes": 11, "sandbox.failed": 0}


def test_no_span_has_code_output_a_files_name_or_its_content(collector):
    assert b"directory put" in collector.raw
    assert b"secret" not in collector.raw


def test_a_command_of_the_cli_is_a_trace_where_a_collector_is_named(collector):
    main = "import sys; from sandbox_client.cli import main; sys.argv[0] = 'sandbox'; main()"
    assert run(main, "run", "-c", "6 * 7", port=collector.port).stdout == "42\n"
    (root,) = [span for _, span in collector.spans if span.name == "sandbox run"]
    below = {(service, span.name) for service, span in collector.spans if span.trace_id == root.trace_id}
    assert ("sandbox-cli", "sandbox.run") in below
    assert ("sandbox-agent", "runtime execute") in below


def test_a_collector_that_is_down_costs_no_call(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        began = time.monotonic()
        run(SESSION, tmp_path / "store", tmp_path / "workspace", port=taken.getsockname()[1])
    assert (tmp_path / "store" / "local" / "default" / "code-interpreter" / "secret-name.txt").read_text()
    assert time.monotonic() - began < 40


def test_a_collector_that_never_answers_costs_no_call(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        held = []
        accepting = threading.Thread(target=_accept_all, args=(silent, held))
        accepting.start()
        run(SESSION, tmp_path / "store", tmp_path / "workspace", port=silent.getsockname()[1])
        assert held, "nobody tried to send spans"
        silent.shutdown(socket.SHUT_RDWR)
        accepting.join()
    for connection, _ in held:
        connection.close()


def _accept_all(server, held):
    try:
        while True:
            held.append(server.accept())
    except OSError:
        return


OFF = """
import asyncio, sys
from pathlib import Path
from sandbox_agent.__main__ import _serve
from sandbox_agent.server.settings import read_settings
settings = read_settings({"SANDBOX_LINK_DIR": sys.argv[1], "SANDBOX_TLS_DIR": sys.argv[1], "SANDBOX_GRPC_PORT": "0",
    "SANDBOX_CONTROL_PORT": "0", "SANDBOX_HEALTH_PORT": "0", "SANDBOX_LISTEN_ADDRESS": "127.0.0.1"})
async def main():
    serving = asyncio.create_task(_serve(settings))
    from sandbox_agent.storage import workspace
    from sandbox_agent.storage.backends.s3 import client as s3_client
    s3_client.preload(s3_client.S3Settings(""))
    await asyncio.sleep(0)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
asyncio.run(main())
import sandbox_client.cli, sandbox_client.local.session, sandbox_operator.app.application
loaded = [name for name in sys.modules if name.startswith("opentelemetry")]
assert "sandbox_agent.app" in sys.modules and not loaded, loaded
"""


def test_where_it_is_off_opentelemetry_is_not_even_imported(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "sandbox_agent.server.local_certificates", tmp_path, "agent.test"], check=True, cwd=ROOT
    )
    run(OFF, tmp_path)
