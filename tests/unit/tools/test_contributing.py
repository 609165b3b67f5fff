"""Compares the lists of files in CONTRIBUTING.md with the code: they name everything that a change touches."""

import re
import subprocess
from pathlib import Path

import pytest

from sandbox_client.tools import TOOL_SPECS

ROOT = Path(__file__).parents[3]
PRODUCT = ["sandbox_agent", "sandbox_client", "sandbox_link", "sandbox_runtime", "operator", "proto", "docs"]
PATHS = re.compile(r"`((?:[\w.-]+/)+[\w.-]*)`")


def section(title: str) -> str:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    return re.split(r"^##", text.split(f"### {title}\n")[1], maxsplit=1, flags=re.MULTILINE)[0]


def steps(title: str) -> set[str]:
    """The paths that the numbered steps of a section begin with."""
    return set(re.findall(r"^\d+\. `([^`]+)`:", section(title), re.MULTILINE))


def files_that_mention(word: str) -> set[str]:
    command = [
        "git",
        "-C",
        str(ROOT),
        "grep",
        "--untracked",
        "-lw",
        word,
        "--",
        *PRODUCT,
        ":!*_pb2*",
        ":!*.binpb",
        ":!docs/faults.md",
    ]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


def in_product(paths: set[str]) -> set[str]:
    return {path for path in paths if path.split("/")[0] in PRODUCT}


@pytest.mark.parametrize("name", [spec.name for spec in TOOL_SPECS])
def test_every_tool_is_in_each_file_that_a_new_tool_has_to_be_in(name):
    listed = steps("A new tool for models")
    assert len(listed) == 6
    assert {path for path in listed if re.search(rf"\b{name}\b", (ROOT / path).read_text())} == listed


@pytest.mark.parametrize("name", ["execute_command", "workspace_list", "workspace_read"])
def test_a_tool_that_is_like_others_is_nowhere_else(name):
    assert files_that_mention(name) == in_product(steps("A new tool for models"))


def test_an_rpc_is_in_the_files_of_its_example_and_nowhere_else():
    assert "`RestartContext`" in section("A new RPC")
    assert files_that_mention("RestartContext") == in_product(steps("A new RPC"))


def test_the_operation_of_that_rpc_is_in_its_service_its_handlers_and_its_document():
    files = files_that_mention("context.restart")
    handlers = {path for path in files if path.startswith("sandbox_runtime/")}
    assert "sandbox_runtime/context_operations.py" in handlers
    assert files - handlers == {"docs/link.md", "sandbox_agent/services/interpreter.py"}


def test_every_path_that_is_named_exists():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    named = [path for path in PATHS.findall(text) if "..." not in path]
    assert len(named) > 20
    assert [path for path in named if not (ROOT / path).exists()] == []
