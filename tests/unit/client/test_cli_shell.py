"""The command line around the commands: what help imports, completion, output formats, and the last resort."""

import io
import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner

from sandbox_client.cli import main
from sandbox_client.cli.main import COMMANDS
from sandbox_client.cli.output import Printer, table_console
from sandbox_client.cli.shell import completion, last_resort
from sandbox_client.errors import SandboxError

HEAVY = ("grpc", "google.protobuf", "kubernetes", "rich", "asyncio", "yaml", "sandbox_client.sync", "sandbox_proto")


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "words", [["--help"], ["run", "--help"], ["exec", "--help"], ["files", "get", "--help"], ["get", "--help"]]
)
def test_help_imports_nothing_that_is_slow(words):
    done = python(
        f"import sys\nfrom sandbox_client.cli import main\n"
        f"try: main({words!r})\n"
        f"except SystemExit: pass\n"
        f"print([name for name in sys.modules if name.startswith({HEAVY!r})])"
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_the_list_of_commands_has_the_first_sentence_of_each(name):
    command = main.get_command(None, name)
    assert command.name == name
    first = " ".join(command.help.split("\n\n")[0].split()).split(". ")[0].rstrip(".") + "."
    assert COMMANDS[name][1] == first


IMPORTING = """
import signal, sys, threading
signal.signal(signal.SIGINT, signal.default_int_handler)  # the parent may ignore it
seen = []
class Finder:
    def find_spec(self, name, *_):
        if name == "sandbox_client.cli.main":
            seen.append(signal.getsignal(signal.SIGINT))
sys.meta_path.insert(0, Finder())
def load():
    import sandbox_client.cli
IMPORT
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
assert seen == [EXPECTED], seen
"""


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("load()", "signal.SIG_DFL"),
        ("thread = threading.Thread(target=load); thread.start(); thread.join()", "signal.default_int_handler"),
    ],
)
def test_ctrl_c_while_the_command_is_imported_ends_it_without_a_traceback(how, expected):
    code = IMPORTING.replace("IMPORT", how).replace("EXPECTED", expected)
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_name_of_the_sdk_is_there_when_it_is_used():
    done = python(
        "import sys, sandbox_client\n"
        "assert 'grpc' not in sys.modules\n"
        "assert sandbox_client.errors.SandboxError is sandbox_client.SandboxError\n"
        "for name in sandbox_client.__all__: getattr(sandbox_client, name)\n"
        "assert set(sandbox_client.__all__) <= set(dir(sandbox_client))\n"
        "try: sandbox_client.nonsense\n"
        "except AttributeError as error: print(error)"
    )
    assert done.stdout == "module 'sandbox_client' has no attribute 'nonsense'\n", done.stderr


def complete(*words, shell="bash"):
    env = {
        "_SANDBOX_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": " ".join(["sandbox", *words]),
        "COMP_CWORD": str(len(words)),
    }
    return CliRunner().invoke(main, [], prog_name="sandbox", env=env).stdout.split()


def test_commands_options_and_sessions_are_completed(monkeypatch):
    asked = []

    async def names(chosen):
        asked.append(chosen.get("namespace"))
        return ["alpha", "beta"]

    monkeypatch.setattr(completion, "_names", names)
    assert complete("del") == ["plain,delete"]
    assert "plain,--timeout" in complete("run", "--ti")
    assert complete("-n", "team", "delete", "a") == ["plain,alpha"]
    assert complete("exec", "-n", "other", "--session", "") == ["plain,alpha", "plain,beta"]
    assert asked == ["team", "other"]


def test_completion_is_silent_without_a_cluster(monkeypatch, tmp_path):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "missing"))
    assert complete("delete", "") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize("program", ["sandbox", "sbx"])
def test_the_script_for_each_shell_names_the_program(shell, program):
    done = CliRunner().invoke(main, ["completion", shell, "--program", program])
    assert done.exit_code == 0
    assert f"_{program.upper()}_COMPLETE={shell}_complete" in done.stdout


def test_a_printer_writes_each_format(capsys):
    value = {"name": "s", "size": 1}
    for form in ("text", "wide", "json", "yaml", "name"):
        Printer(form).print(value, "a text")
    text, wide, as_json, *as_yaml, name = capsys.readouterr().out.splitlines()
    assert (text, wide, name) == ("a text", "a text", "s")
    assert json.loads(as_json) == yaml.safe_load("\n".join(as_yaml)) == value


def test_a_notebook_gets_no_control_codes(monkeypatch, capsys):
    """Jupyter sets FORCE_COLOR for the commands of a notebook."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    printer = Printer("text")
    with printer.spinner("Starting"), printer.progress_bar("Sending") as step:
        step(1, 2)
    printer.fail(SandboxError("no"))
    assert table_console().width == 1000
    assert capsys.readouterr().err == "error: no\n"


def ended(raised, monkeypatch=None):
    def run():
        raise raised

    with pytest.raises(SystemExit) as end:
        last_resort.ended_in_order(run)
    return end.value.code


def test_a_fault_of_ours_is_one_sentence_and_its_traceback_is_there_on_request(capsys, monkeypatch):
    assert ended(RuntimeError("a\nb.")) == 125
    said = capsys.readouterr().err
    assert "RuntimeError: a b. This is" in said
    assert "SANDBOX_DEBUG=1" in said
    assert "Traceback" not in said
    monkeypatch.setenv("SANDBOX_DEBUG", "1")
    ended(RuntimeError("a"))
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("raised", "code", "parts"),
    [
        (FileNotFoundError(2, "No such file or directory", "x.csv"), 125, ["x.csv", "No such file", "check the path"]),
        (PermissionError(13, "Permission denied", "/x"), 125, ["/x", "Permission denied", "permissions"]),
        (OSError(28, "No space left on device"), 125, ["output", "No space left", "free some space"]),
        (ConnectionRefusedError(111, "Connection refused"), 125, ["error: Connection refused"]),
        (click.UsageError("no"), 2, ["Error: no"]),
        (KeyboardInterrupt(), 130, ["interrupted"]),
        (click.Abort(), 130, ["interrupted"]),
        (BrokenPipeError(32, "Broken pipe"), 141, []),
        (SystemExit(7), 7, []),
    ],
)
def test_everything_ends_with_its_code_and_a_sentence(raised, code, parts, capfd):
    assert ended(raised) == code
    said = capfd.readouterr().err
    assert all(part in said for part in parts), said
    assert bool(said) == bool(parts)
    assert "Traceback" not in said


def test_a_command_may_close_standard_output(monkeypatch, capsys):
    """Version 1 of the mcp package does."""
    output = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdout", output)
    with pytest.raises(SystemExit) as end:
        last_resort.ended_in_order(output.close)
    assert end.value.code == 0
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/dev/full")
def test_output_to_a_full_disk_ends_in_one_sentence():
    command = [sys.executable, "-m", "sandbox_client"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([*command, "--help"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 125
    assert done.stderr.count("\n") == 1
    assert "No space left" in done.stderr
