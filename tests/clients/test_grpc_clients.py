"""Runs the commands of docs/grpc.md, as they are written there, against a local session."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from sandbox_client import Sandbox

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "grpc.md").read_text()
DOWNLOADS = 900
"""Seconds for a first run, which downloads and compiles the libraries."""
pytestmark = pytest.mark.timeout(DOWNLOADS)


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """The environment variables of the page, for a session with reflection."""
    folder = tmp_path_factory.mktemp("grpc")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SANDBOX_REFLECTION", "1")
        sandbox = Sandbox.local()
    with sandbox:
        endpoint = sandbox.endpoint
        authority = folder / "ca.crt"
        authority.write_bytes(endpoint.ca_certificate)
        yield {
            **os.environ,
            "SANDBOX_ADDRESS": endpoint.address,
            "SANDBOX_SERVER_NAME": endpoint.server_name,
            "SANDBOX_CA_FILE": str(authority),
            "SANDBOX_TOKEN": endpoint.token,
        }


def commands(title):
    """All shell commands of one section."""
    section = PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    assert blocks
    return "\n".join(blocks)


def run(script, environment):
    """The lines that a shell script prints."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        check=False,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=DOWNLOADS - 60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("language", ["Go", "Node", "Java"])
def test_a_client_runs_a_cell_attaches_to_it_and_uploads_a_file(language, environment):
    printed = re.sub(r"\x1b\[[0-9;]*m", "", run(commands(language), environment))
    answers = dict(re.findall(r"^(\S[^:\n]*): +(.*)$", printed, re.MULTILINE))
    assert answers["attached"] == answers["first run"]
    assert 0 < float(answers["first run"]) < 1
    assert answers["uploaded"] == "8"


def test_grpcurl_does_the_same(environment):
    printed = run(commands("grpcurl"), environment)
    messages = list(read_values(printed))
    events = [event for message in messages for event in message.get("events", ())]
    assert [event["output"]["data"] for event in events if "output" in event] == ["NDIK", "NDIK", "aGVsbG8K"]
    first, attached, _ = [event["started"] for event in events if "started" in event]
    assert attached == first
    (written,) = [message["info"] for message in messages if "info" in message]
    assert (written["path"], written["size"]) == ("a.txt", "6")


def test_grpcurl_finds_the_services_by_reflection_with_the_token_only(environment):
    connection = '"$(go env GOPATH)/bin/grpcurl" -cacert "$SANDBOX_CA_FILE" -authority "$SANDBOX_SERVER_NAME"'
    header = "-expand-headers -H 'authorization: Bearer ${SANDBOX_TOKEN}'"
    request = """-d '{"code": "print(6 * 7)"}' "$SANDBOX_ADDRESS" sandbox.v1.InterpreterService/ExecuteBriefly"""
    assert "NDIK" in run(f"{connection} {header} {request}", environment)
    with pytest.raises(AssertionError, match="needs this session's access token"):
        run(f"{connection} {request}", environment)


def read_values(text):
    """The JSON values of a text, one after the other."""
    decoder = json.JSONDecoder()
    while text := text.lstrip():
        value, end = decoder.raw_decode(text)
        yield value
        text = text[end:]
