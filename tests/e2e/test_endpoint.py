"""`sandbox endpoint` for a session in a cluster: a client that knows nothing but its answer runs a cell."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import grpc

from sandbox_proto.v1 import interpreter_pb2, types_pb2
from sandbox_proto.v1.interpreter_pb2_grpc import InterpreterServiceStub
from tests.e2e.support.kubectl import Kubectl
from tests.e2e.support.sessions import Sessions

PROGRAM = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "from sandbox_client.cli import main; main()"
)


def test_a_forwarded_endpoint_runs_a_cell(kubectl: Kubectl, sessions: Sessions, tmp_path: Path):
    name = sessions.ready()
    place = ["--kubeconfig", str(kubectl.kubeconfig), "-n", kubectl.namespace, "--dir", str(tmp_path)]
    words = [sys.executable, "-c", PROGRAM, "endpoint", name, *place, "--forward", "--output", "json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as forward:
        try:
            facts = json.loads(forward.stdout.readline())
            credentials = grpc.ssl_channel_credentials(Path(facts["ca_file"]).read_bytes())
            options = [("grpc.ssl_target_name_override", facts["server_name"])]
            metadata = [("authorization", f"Bearer {Path(facts['token_file']).read_text()}")]
            request = interpreter_pb2.ExecuteRequest(
                code="print(6 * 7)", language=types_pb2.LANGUAGE_PYTHON, request_id="endpoint"
            )
            with grpc.secure_channel(facts["address"], credentials, options) as channel:
                answers = InterpreterServiceStub(channel).Execute(request, metadata=metadata, timeout=60)
                output = b"".join(event.output.data for answer in answers for event in answer.events)
            assert output == b"42\n"
            forward.send_signal(signal.SIGINT)
            assert forward.wait(20) == 0
        finally:
            forward.kill()
