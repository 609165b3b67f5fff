"""Runs the commands of docs/grpc.md, as they are written there, against a local session."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "grpc.md").read_text()
DOWNLOADS = 900
"""Seconds for a first run, which downloads and compiles the libraries."""
pytestmark = pytest.mark.timeout(DOWNLOADS)


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """The environment after the page's first commands, which make a session. It has reflection, too."""
    folder = tmp_path_factory.mktemp("grpc")
    before = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "XDG_STATE_HOME": str(folder / "state"),
        "XDG_DATA_HOME": str(folder / "data"),
        "SANDBOX_REFLECTION": "1",
    }
    try:
        printed = run(f"{commands('What a client needs')}\nenv -0", before)
        yield dict(line.split("=", 1) for line in printed.partition("local/demo\n")[2].split("\0") if line)
    finally:
        run("sandbox delete local/demo", before)


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
    with pytest.raises(AssertionError, match="no valid access token"):
        run(f"{connection} {request}", environment)


def read_values(text):
    """The JSON values of a text, one after the other."""
    decoder = json.JSONDecoder()
    while text := text.lstrip():
        value, end = decoder.raw_decode(text)
        yield value
        text = text[end:]
