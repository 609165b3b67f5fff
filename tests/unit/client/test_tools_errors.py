"""Errors of the tools and the MCP server: each names the object, the reason, and what to do."""

import json
import re
import socket

import grpc
import pytest
from click.testing import CliRunner

from sandbox_client import AsyncSandbox, InvalidArgument, SessionFailed
from sandbox_client.cli import main
from sandbox_client.tools import SandboxTools, local_sessions
from sandbox_client.tools.limits import ResultLimits
from sandbox_client.tools.mcp_server import parse_address, serve_http
from sandbox_client.tools.results import ToolResult
from sandbox_proto.v1 import types_pb2
from sandbox_testing.fake_agent import completed, error, started

NAMED = "code, language, output_filename"
# The tool and the model's arguments; the field; what the error must say: object, reason, what to do.
ARGUMENTS = [
    ("run", {}, "name", ["'run'", "there is no tool", "The tools are execute_code"]),
    (["execute_code"], {}, "name", ["['execute_code']", "there is no tool", "The tools are"]),
    ("execute_code", "print(1)", "arguments", ["arguments of execute_code", "not str", f"an object with {NAMED}"]),
    ("execute_code", [1], "arguments", ["arguments of execute_code", "not list", f"an object with {NAMED}"]),
    ("execute_code", {}, "code", ["execute_code needs code", f"its arguments are {NAMED}"]),
    ("execute_code", None, "code", ["execute_code needs code", f"its arguments are {NAMED}"]),
    ("execute_code", {"code": 5}, "code", ["code must be of type string", "not int"]),
    ("execute_code", {"code": None}, "code", ["code must be of type string", "not NoneType"]),
    ("execute_code", {"code": " \n"}, "code", ["code is empty", "give the code to run"]),
    ("execute_code", {"code": "1\ud800"}, "code", ["code is not valid Unicode", "surrogates"]),
    ("execute_code", {"code": "1", "lang": "r"}, "lang", ["no argument 'lang'", f"its arguments are {NAMED}"]),
    ("execute_code", {"code": "1", 5: 1}, "5", ["no argument 5", f"its arguments are {NAMED}"]),
    (
        "execute_code",
        {"code": "1", "language": "ruby"},
        "language",
        ["language", "'ruby'", "choose one of python, javascript, typescript"],
    ),
    (
        "execute_code",
        {"code": "1", "output_filename": "../x"},
        "output_filename",
        ["output_filename '../x'", "leads out of the workspace", "give a path inside it"],
    ),
    ("execute_command", {"command": ""}, "command", ["command is empty", "give the command line"]),
    ("execute_command", {"command": ["ls"]}, "command", ["command must be of type string", "not list"]),
    ("file_operations", {"operation": "copy"}, "operation", ["operation", "'copy'", "choose one of read, write"]),
    ("file_operations", {"operation": "read"}, "paths", ["read needs paths", 'such as ["data.csv"]']),
    ("file_operations", {"operation": "read", "paths": 5}, "paths", ["paths must be of type array", "not int"]),
    ("file_operations", {"operation": "read", "paths": [5]}, "paths", ["paths must be a string", "not int"]),
    ("file_operations", {"operation": "write"}, "content", ["write needs content", '{"path", "text"}']),
    (
        "file_operations",
        {"operation": "write", "content": ["a"]},
        "content[0]",
        ["content[0]", 'must be an object {"path", "text"}', "not str"],
    ),
    (
        "file_operations",
        {"operation": "write", "content": [{"path": "a"}]},
        "content[0].text",
        ["needs content[0].text", "its arguments are path, text"],
    ),
    (
        "file_operations",
        {"operation": "write", "content": [{"path": "a", "text": 1}]},
        "content[0].text",
        ["content[0].text must be of type string", "not int"],
    ),
    ("ci_push_to_workspace", {"paths": {}}, "paths", ["paths must be of type array", "not dict"]),
    ("workspace_read", {"path": ""}, "path", ["path is empty", "such as code-interpreter/chart.png"]),
    ("workspace_list", {"path": 1}, "path", ["path must be of type string", "not int"]),
    (
        "workspace_write",
        {"path": "x.csv", "content": ""},
        "path",
        ["'x.csv' cannot be written", "give a path below code-interpreter/"],
    ),
    (
        "workspace_write",
        {"path": "code-interpreter/x", "content": "?", "encoding": "base64"},
        "content",
        ["content is not valid base64", "leave out encoding if it is text"],
    ),
    (
        "workspace_write",
        {"path": "code-interpreter/x", "content": "", "encoding": "hex"},
        "encoding",
        ["encoding", "'hex'", "choose one of text, base64"],
    ),
]


@pytest.fixture
async def tools(agent):
    async def open_session():
        return AsyncSandbox(agent.endpoint)

    async with SandboxTools(open_session) as tools:
        yield tools


@pytest.mark.parametrize(("name", "arguments", "field", "words"), ARGUMENTS)
async def test_a_wrong_argument_is_named_with_what_is_right(tools, name, arguments, field, words):
    result = await tools.call(name, arguments)
    assert result.is_error
    assert result.value["field"] == field
    assert [word for word in words if word not in result.value["error"]] == []
    assert json.loads(result.text)["status"] == "error"


async def test_a_huge_wrong_argument_is_quoted_only_in_part(tools):
    for name, arguments in [
        ("x" * 1_000_000, {}),
        ("execute_code", {"code": "1", "x" * 1_000_000: 1}),
        ("execute_code", {"code": "1", "language": "x" * 1_000_000}),
        ("workspace_write", {"path": "x" * 1_000_000, "content": ""}),
    ]:
        assert len((await tools.call(name, arguments)).text) < 1_000


FAILURES = [
    (types_pb2.EXIT_STATUS_TIMED_OUT, ["time limit was hit after 0.5 s", "split the work"]),
    (types_pb2.EXIT_STATUS_OOM_KILLED, ["memory limit was hit", "less data at a time"]),
    (types_pb2.EXIT_STATUS_LOST, ["the sandbox restarted", "it was not run again"]),
    (types_pb2.EXIT_STATUS_INTERRUPTED, ["it was interrupted before its end"]),
]


@pytest.mark.parametrize(("status", "words"), FAILURES)
async def test_an_early_end_is_named_with_what_to_do(agent, tools, status, words):
    agent.script("endless", [started(), completed(status)])
    result = await tools.execute_code("endless")
    assert [word for word in words if word not in result.value["error"]] == []
    assert result.value["code_snippet"] == "endless"


async def test_a_missing_file_is_named_by_each_tool(agent, tools):
    agent.script("1", [started(), completed()])
    texts = [
        (await tools.file_operations("read", ["nope.txt"])).value["error"],
        (await tools.file_operations("remove", ["nope.txt"])).value["error"],
        (await tools.workspace_read("code-interpreter/nope.txt")).value["error"],
        (await tools.ci_push_to_workspace(["nope.txt"])).value["error"],
        (await tools.execute_code("1", output_filename="nope.txt")).value["warning"],
    ]
    assert [text for text in texts if "nope.txt" not in text] == []


async def test_an_unavailable_session_says_why(agent, tools):
    agent.refuse("ExecuteBriefly", grpc.StatusCode.FAILED_PRECONDITION, "DRAINING", times=9)
    agent.refuse("Execute", grpc.StatusCode.FAILED_PRECONDITION, "DRAINING", times=9)
    result = await tools.execute_code("1")
    assert (result.is_error, result.value["reason"]) == (True, "DRAINING")

    async def fail():
        raise SessionFailed("session s was not ready within 120 s: it is Pending (no node fits)")

    async with SandboxTools(fail) as others:
        text = (await others.execute_command("ls")).value["error"]
    assert "the code interpreter is not available" in text
    assert "session s was not ready within 120 s" in text


@pytest.mark.parametrize(
    ("make", "field", "words"),
    [
        (lambda: ResultLimits(max_text=1), "max_text", ["max_text must be between 500 and 1,000,000", "not 1"]),
        (lambda: ResultLimits(max_text=True), "max_text", ["max_text must be a whole number or None", "not bool"]),
        (lambda: ResultLimits(max_text="1"), "max_text", ["max_text must be a whole number or None", "not str"]),
        (lambda: ResultLimits(max_image_edge=9_000), "max_image_edge", ["between 64 and 8,000", "not 9,000"]),
        (lambda: local_sessions(memory_limit="lots"), "memory_limit", ["'lots'", "'500M' or '2Gi'"]),
        (lambda: ToolResult("x").to_content("gemini"), "style", ["'gemini'", "anthropic, openai, langchain, mcp"]),
        (lambda: parse_address("8o80"), "http", ["'8o80'", "give HOST:PORT, such as 127.0.0.1:8765"]),
        (lambda: parse_address("0.0.0.0:80"), "http", ["0.0.0.0", "not a loopback address", "Serve on 127.0.0.1"]),
    ],
)
def test_a_wrong_option_is_named_with_what_is_right(make, field, words):
    with pytest.raises(InvalidArgument) as caught:
        make()
    assert caught.value.field == field
    assert [word for word in words if word not in caught.value.message] == []


async def test_a_busy_port_is_named_with_what_to_do(tools):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(SessionFailed) as caught:
            await serve_http(tools, f"127.0.0.1:{port}")
    words = [f"port {port} of 127.0.0.1", "another program listens there", "Choose another port, or 0"]
    assert [word for word in words if word not in caught.value.message] == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--session", "s", "--memory", "1Gi"], ["memory", "the session's template and spec decide this"]),
        (["--session", "s", "--timeout", "5"], ["timeout", "the session's template and spec decide this"]),
        (["--max-text", "3"], ["max_text must be between 500 and 1,000,000"]),
        (["--max-image-edge", "-1"], ["max_image_edge must be between 64 and 8,000"]),
        (["--memory", "much"], ["memory", "'much'", "'500M' or '2Gi'"]),
        (["--http", "0.0.0.0:1"], ["not a loopback address"]),
    ],
)
def test_a_wrong_option_of_the_command_ends_it_with_one_sentence(options, words):
    refused = CliRunner().invoke(main, ["mcp", *options])
    assert refused.exit_code not in (0, 1)
    assert [word for word in words if word not in refused.stderr] == []
    assert not re.search(r"Traceback|\.py", refused.stderr)


async def test_an_exception_of_code_is_named(agent, tools):
    agent.script(
        "1/0", [started(), error("ZeroDivisionError", "division by zero"), completed(types_pb2.EXIT_STATUS_ERROR)]
    )
    result = await tools.execute_code("1/0")
    assert result.value["error"] == "ZeroDivisionError: division by zero"
