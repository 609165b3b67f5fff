"""Compares the documents with the code: examples, paths, environment variables, error reasons."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TRACKED = subprocess.run(
    ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard"], check=True, capture_output=True, text=True
).stdout.split("\n")
DOCUMENTS = [name for name in TRACKED if name.endswith(".md") and (ROOT / name).is_file()]
PATHS = re.compile(r"`((?:[\w.-]+/)*[\w-]+\.(?:py|md|proto|cjs)|(?:[\w.-]+/)+[\w-]+\.(?:yaml|json))`")
CONTRACT = (ROOT / "docs/pod-contract.md").read_text()


def modules(*packages):
    return [path for package in packages for path in (ROOT / package).rglob("*.py")]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_examples_in_python_are_python(name):
    for example in re.findall(r"```python\n(.*?)```", (ROOT / name).read_text(), re.DOTALL):
        ast.parse(example)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_path_that_is_named_is_the_end_of_a_files_path(name):
    named = set(PATHS.findall((ROOT / name).read_text()))
    assert {path for path in named if not any(f"/{tracked}".endswith(f"/{path}") for tracked in TRACKED)} == set()


def test_the_environment_of_agent_and_runtime_is_in_the_contract():
    texts = [path.read_text() for path in modules("sandbox_agent", "sandbox_runtime")]
    names = {name for text in texts for name in re.findall(r"\"(SANDBOX_[A-Z_]+)\"", text)}
    # The runtime gives these to its own children.
    names -= {"SANDBOX_CONTROL_FD", "SANDBOX_ZYGOTE_FD", "SANDBOX_TREE"}
    assert len(names) > 15
    assert {name for name in names if f"| `{name}` |" not in CONTRACT} == set()


def test_every_reason_of_an_error_is_in_the_contract():
    reasons = set()
    for path in modules("sandbox_agent", "sandbox_link", "sandbox_runtime"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(
                    func=ast.Name(id="OperationError"), args=[ast.Constant(), ast.Constant(value=reason), *_]
                ):
                    reasons.add(reason)
    table = set(re.findall(r"`([A-Z_]+)`", CONTRACT.partition("## Errors")[2]))
    assert len(reasons) > 20
    assert reasons - table == set()


def test_every_page_is_in_the_navigation_of_the_site():
    site = (ROOT / "properdocs.yml").read_text()
    pages = {name.removeprefix("docs/") for name in DOCUMENTS if name.startswith("docs/")}
    assert {page for page in pages if f": {page}\n" not in site} == set()
