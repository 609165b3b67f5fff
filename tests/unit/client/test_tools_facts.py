"""Facts of a session that its tools state, and limits of what a model gets."""

import asyncio
import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox_client import AsyncSandbox
from sandbox_client.tools import TOOL_SPECS, Image, SandboxTools, SessionFacts, ToolResult, local_sessions
from sandbox_client.tools.facts import describe_session, describe_tools, explain_network, may_lack_network, read_facts
from sandbox_client.tools.limits import bound, cut_middle
from sandbox_client.tools.mcp_server.calls import Calls
from sandbox_client.tools.openers.local import default_memory
from sandbox_client.tools.pictures import picture_size

LOCAL = SessionFacts(is_isolated=False, network="none", time_limit=300, memory_limit=2 << 30)
TEMPLATE = {
    "egress": {"mode": "Allowlist"},
    "limits": {"executionTimeout": "1m30s"},
    "resources": {"default": {"limits": {"memory": "512Mi"}}},
}


def texts_of(facts):
    return [describe_session(facts), *(spec.description for spec in describe_tools(facts)[:2])]


def test_no_text_claims_what_is_not_known():
    words = ("isolated", "There is no network", "GiB", "seconds")
    assert [word for text in texts_of(SessionFacts()) for word in words if word in text] == []
    assert [spec.name for spec in TOOL_SPECS if "isolated" in spec.description] == []


def test_a_local_session_says_that_nothing_is_isolated_and_states_its_limits():
    for text in texts_of(LOCAL):
        assert "Nothing is isolated" in text
        assert "There is no network: pip install" in text
        assert "stopped after 300 seconds" in text
        assert "2.0 GiB of memory" in text
    assert [spec.is_open_world for spec in describe_tools(LOCAL)] == [False] * 7
    assert [spec.is_open_world for spec in describe_tools(SessionFacts(network="public"))][:2] == [True, True]


@pytest.mark.parametrize(
    ("session", "template", "facts"),
    [
        ({}, TEMPLATE, SessionFacts(is_isolated=True, network="some", time_limit=90, memory_limit=512 << 20)),
        (
            {"egress": "None", "resources": {"limits": {"memory": "2Gi"}}},
            TEMPLATE,
            SessionFacts(is_isolated=True, network="none", time_limit=90, memory_limit=2 << 30),
        ),
        ({"egress": "Public"}, {"limits": None}, SessionFacts(is_isolated=True, network="public", time_limit=300)),
        ({}, {}, SessionFacts(is_isolated=True)),
    ],
)
def test_the_facts_of_a_pod_are_those_of_its_session_and_template(session, template, facts):
    assert read_facts(session, template) == facts


def test_every_tool_has_a_title_and_hints_that_fit_together():
    for spec in TOOL_SPECS:
        assert spec.title
        assert not (spec.is_read_only and spec.is_destructive)
    assert [spec.name for spec in TOOL_SPECS if spec.is_read_only] == ["workspace_read", "workspace_list"]


@pytest.mark.parametrize(
    "text",
    [
        "urllib.error.URLError: <urlopen error [Errno -3] Temporary failure in name resolution>",
        "OSError: [Errno 101] Network is unreachable",
        "TypeError: fetch failed\n[cause]: Error: getaddrinfo EAI_AGAIN example.org",
        "npm error code ENOTFOUND",
        "curl: (6) Could not resolve host: example.org",
        "ERROR: No matching distribution found for left-pad",
    ],
)
def test_the_output_of_a_missing_network_is_recognised(text):
    failed = ToolResult({"error": "exit code 1", "stderr": text, "code_snippet": "x", "status": "error"})
    assert may_lack_network(failed)
    assert "this session has no network" in explain_network(failed, LOCAL).value["error"]
    assert explain_network(failed, SessionFacts(network="public")) is failed
    assert explain_network(failed, SessionFacts()) is failed
    assert "this session has no network" in explain_network(ToolResult(text), LOCAL).notice


@pytest.mark.parametrize("text", ["ValueError: x", "ModuleNotFoundError: No module named 'a'", "(no output)"])
def test_other_failures_are_not_explained_by_the_network(text):
    assert not may_lack_network(ToolResult({"error": text, "code_snippet": "import a", "status": "error"}))
    assert not may_lack_network(ToolResult(text))


def test_a_local_session_behind_tools_leaves_half_of_the_memory(tmp_path):
    meminfo = tmp_path / "meminfo"
    for available, limit in [(3 << 20, 1536 << 20), (64 << 20, 4 << 30), (1000, 512 << 20)]:
        meminfo.write_text(f"MemTotal: 99 kB\nMemAvailable: {available} kB\n")
        assert default_memory(str(meminfo)) == limit
    assert 512 << 20 <= default_memory(str(tmp_path / "none")) <= 4 << 30
    assert asyncio.run(local_sessions(memory_limit="1Gi").facts()).memory_limit == 1 << 30


@given(st.text(max_size=3000), st.integers(100, 1000))
def test_a_cut_text_keeps_its_ends_and_says_what_is_missing(text, limit):
    cut = cut_middle(text, limit, "a.txt")
    if len(text) <= limit:
        assert cut == text
        return
    head, _, rest = cut.partition("\n[... ")
    tail = rest.partition(" ...]\n")[2]
    if "\n[... " not in text:
        assert text.startswith(head)
        assert text.endswith(tail)
        assert f"{len(text) - limit:,} of {len(text):,} characters" in rest
    assert "a.txt" in cut


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=1000),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.sampled_from(["a", "b", "content"]), inner),
    max_leaves=20,
)


@settings(max_examples=40)
@given(
    st.text(max_size=4000) | st.lists(VALUES) | st.dictionaries(st.sampled_from(["stdout", "files", "error"]), VALUES)
)
def test_a_bound_result_is_short_whatever_it_holds(value):
    result = bound(ToolResult(value), 500)
    json.dumps(result.value)
    # Entries of nested lists are not cut, and each text keeps 300 characters.
    if isinstance(value, str):
        assert len(result.value) < 700
    if len(json.dumps(value, ensure_ascii=False)) <= 500:
        assert result.value == value
    assert bound(ToolResult(value), None).value == value


def test_a_failure_full_of_control_characters_is_short_as_json():
    result = bound(ToolResult({"error": "e", "stdout": "\0" * 90_000, "stderr": "\0" * 90_000}), 10_000)
    assert len(result.text) < 15_000
    assert result.value["error"] == "e"


@pytest.mark.parametrize(
    ("content", "size"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x02\0\0\0\x03", (2, 3)),
        (b"GIF89a\x02\0\x03\0", (2, 3)),
        (b"\xff\xd8\xff\xe0\0\x04ab\xff\xc0\0\x11\x08\0\x03\0\x02", (2, 3)),
        (b"RIFF\0\0\0\0WEBPVP8X\0\0\0\0\0\0\0\0\x01\0\0\x02\0\0", (2, 3)),
        (b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\x9d\x01\x2a\x02\0\x03\0", (2, 3)),
        (b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f\x01\x80\0\0", (2, 3)),
        (b"\x89PNG\r\n\x1a\n", None),
        (b"\xff\xd8\xff\xff\0\0", None),
        (b"text", None),
    ],
)
def test_the_size_of_a_picture_is_read_from_its_header(content, size):
    assert picture_size(content) == size


@given(st.sampled_from([b"\x89PNG\r\n\x1a\n", b"GIF89a", b"\xff\xd8\xff", b"RIFF1234WEBP"]), st.binary(max_size=80))
def test_the_header_of_rubbish_is_read_without_an_error(start, rest):
    picture_size(start + rest)


PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()
URL = f"data:image/png;base64,{PNG}"


@pytest.mark.parametrize(
    ("style", "text", "picture"),
    [
        ("anthropic", "text", {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}),
        ("openai", "input_text", {"type": "input_image", "image_url": URL, "detail": "auto"}),
        ("langchain", "text", {"type": "image", "base64": PNG, "mime_type": "image/png"}),
        ("mcp", "text", {"type": "image", "data": PNG, "mimeType": "image/png"}),
    ],
)
def test_content_has_the_form_of_each_api(style, text, picture):
    # tests/agents/blocks_check.py validates them with the libraries themselves.
    result = ToolResult("x", (Image("png", base64.b64decode(PNG)),))
    assert result.to_content(style) == [{"type": text, "text": "x"}, picture]


class SlowTools:
    """Tools whose call ends when it is cancelled or released."""

    def __init__(self):
        self.begun, self.release, self.is_cancelled = asyncio.Event(), asyncio.Event(), False

    async def call(self, _name, _arguments):
        self.begun.set()
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.is_cancelled = True
            raise
        return ToolResult("done")


@pytest.mark.parametrize("is_closing", [False, True])
async def test_a_client_that_goes_away_cancels_nothing_and_one_that_cancels_does(is_closing):
    tools = SlowTools()
    calls = Calls(tools)
    task = asyncio.create_task(calls.run("execute_code", {}, None))
    await tools.begun.wait()
    calls.is_closing = is_closing
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    tools.release.set()
    await asyncio.sleep(0)
    assert tools.is_cancelled is not is_closing


@pytest.mark.parametrize(("mode", "interrupts"), [("interrupt", 1), ("detach", 0)])
async def test_a_cancelled_tool_interrupts_its_cell_unless_it_is_detached(agent, mode, interrupts):
    async def open_session():
        return AsyncSandbox(agent.endpoint)

    async with SandboxTools(open_session, on_cancel=mode) as tools:
        assert not (await tools.execute_code("1")).is_error
        begun = asyncio.Event()

        async def hold(_context):
            begun.set()
            await asyncio.Event().wait()

        agent.faults["Execute"] = [hold]
        task = asyncio.create_task(tools.execute_code("2"))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert agent.calls["Interrupt"] == interrupts
