"""`sandbox endpoint` for a session in a cluster: what it prints, the files it writes, and the port that it forwards."""

import base64
import json
import os
import shlex
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from sandbox_client.cli import main
from tests.support.session_api import session

ACCESS = {"token": b"t", "ca.crt": b"ca", "endpoint": b"10.0.0.1:8443", "serverName": b"n", "podName": b"p"}


@pytest.fixture(autouse=True)
def ready(api, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    api.sessions["s"] = session("Ready")
    api.secrets["s-access"] = {key: base64.b64encode(value).decode() for key, value in ACCESS.items()}


def endpoint(options, *words):
    done = CliRunner().invoke(main, ["endpoint", "s", "--kubeconfig", options.kubeconfig, *words])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_the_values_are_those_of_the_access_secret(options, tmp_path):
    facts = json.loads(endpoint(options, "--output", "json", "--dir", str(tmp_path / "files")))
    assert facts == {
        "session": "s",
        "address": "10.0.0.1:8443",
        "server_name": "n",
        "ca_file": str(tmp_path / "files" / "ca.crt"),
        "ca_pem": "ca",
        "token_file": str(tmp_path / "files" / "token"),
    }
    assert Path(facts["token_file"]).read_text() == "t"
    assert Path(facts["ca_file"]).read_text() == "ca"
    assert stat.S_IMODE((tmp_path / "files").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "files" / "token").stat().st_mode) == 0o600


def test_the_token_is_shown_only_where_it_is_asked_for(options):
    assert "token: " not in endpoint(options)
    assert "token:        t" in endpoint(options, "--show-token")
    assert json.loads(endpoint(options, "--output", "json", "--show-token"))["token"] == "t"


def test_a_shell_reads_the_lines_even_if_a_path_is_odd(options, tmp_path):
    odd = tmp_path / "a b'$(touch x)`;\n\"c"
    lines = endpoint(options, "--export", "--dir", str(odd))
    script = f'{lines}\nprintf "%s|%s" "$SANDBOX_TOKEN" "$SANDBOX_CA_FILE"'
    said = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path).stdout
    assert said == f"t|{odd}/ca.crt"
    assert not (tmp_path / "x").exists()


def test_sessions_of_the_same_name_have_different_files(options, api):
    first = json.loads(endpoint(options, "--output", "json"))["token_file"]
    api.sessions["s"]["metadata"]["uid"] = "another"
    assert json.loads(endpoint(options, "--output", "json"))["token_file"] != first
    assert Path(first).is_relative_to(os.environ["XDG_STATE_HOME"])


def test_a_forward_prints_a_loopback_address_and_stays_until_it_is_interrupted(options):
    words = ["endpoint", "s", "--kubeconfig", options.kubeconfig, "--forward", "--output", "json"]
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from sandbox_client.cli import main; main()"
    )
    with subprocess.Popen([sys.executable, "-c", code, *words], stdout=subprocess.PIPE, text=True) as forward:
        facts = json.loads(forward.stdout.readline())
        assert facts["address"].startswith("127.0.0.1:"), shlex.join(words)
        assert forward.poll() is None
        forward.send_signal(signal.SIGINT)
        assert forward.wait(20) == 0
