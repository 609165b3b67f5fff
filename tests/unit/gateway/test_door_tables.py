"""The tables of docs/doors against the code of the doors and the clients' own models."""

import re
from pathlib import Path

import pytest
from mcp_types import version

from sandbox_client.tools.schemas import TOOL_SPECS
from sandbox_gateway.doors.agentcore import requests, tools
from sandbox_gateway.doors.agentcore.routes import OPERATIONS
from sandbox_gateway.doors.mcp.conversations import Conversations
from sandbox_gateway.doors.mcp.server import build_server
from tests.support.aws_model import MODELS, operation

DOCS = Path(__file__).parents[3] / "docs" / "doors"


def table(page, heading):
    """Return the rows of the table with this first column: name and the second column."""
    text = (DOCS / page).read_text()
    (body,) = re.findall(rf"^\| {heading} \|.*\n\|---.*\n((?:\|.*\n)+)", text, re.MULTILINE)
    rows = [[cell.strip().strip("`") for cell in row.strip("|").split(" | ")] for row in body.splitlines()]
    return {row[0].strip(): row[1].strip() for row in rows}


def test_every_operation_on_code_interpreters_is_in_the_table():
    names = [name for model in MODELS.values() for name in model.operation_names if "CodeInterpreter" in name]
    shown = table("agentcore.md", "Operation")
    assert sorted(shown) == sorted(names) == sorted(OPERATIONS)
    assert set(shown.values()) == {"yes", "partly", "no"}
    # Clients get a reason, not a missing route.
    assert [name for name, supported in shown.items() if supported == "no"] == ["DeleteCodeInterpreter"]


def test_the_page_counts_what_is_not_supported():
    page = (DOCS / "agentcore.md").read_text()
    others = [sum("CodeInterpreter" not in name for name in model.operation_names) for model in MODELS.values()]
    (counted,) = re.findall(r"The other (\d+) and (\d+) operations", page)
    # A newer botocore has more of them.
    assert [int(count) for count in counted] <= others


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_has_the_method_and_path_of_the_model(name):
    method, path, _ = OPERATIONS[name]
    http = operation(name).http
    assert method == http["method"]
    assert path == re.sub(r"\{\w+\}", "{identifier:path}", http["requestUri"])


def test_every_tool_and_argument_of_the_model_is_in_the_table():
    members = operation("InvokeCodeInterpreter").input_shape.members
    shown = table("agentcore.md", "Tool")
    assert list(shown) == members["name"].metadata["enum"] == list(requests.TOOLS)
    assert set(shown) == set(tools.TOOLS)
    assert set(shown.values()) == {"yes", "partly"}
    assert list(table("agentcore.md", "Argument")) == list(members["arguments"].members)


def test_every_exception_of_a_call_is_in_the_table_with_its_status():
    model = operation("InvokeCodeInterpreter")
    expected = {shape.name: str(shape.metadata["error"]["httpStatusCode"]) for shape in model.error_shapes}
    assert table("agentcore.md", "Exception") == expected


def test_every_tool_of_the_mcp_door_is_in_the_table():
    assert list(table("mcp.md", "Tool")) == [spec.name for spec in TOOL_SPECS]


def test_the_methods_of_the_mcp_door_are_those_of_the_table():
    server = build_server(None, Conversations(None), str)
    methods = {name: supported for name, supported in table("mcp.md", "Feature").items() if "/" in name}
    assert len(methods) == 9
    assert {name: "yes" if server.get_request_handler(name) else "no" for name in methods} == methods


def test_the_revisions_of_the_mcp_door_are_those_of_the_package():
    newest, older = [name for name in table("mcp.md", "Feature") if name.startswith("Revision")]
    assert (newest.split()[-1],) == version.MODERN_PROTOCOL_VERSIONS
    assert re.findall(r"[\d-]{10}", older) == [version.OLDEST_SUPPORTED_VERSION, version.LATEST_HANDSHAKE_VERSION]
