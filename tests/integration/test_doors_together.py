"""One session through several doors at once, and whatever clients may send to a door."""

import asyncio
import contextlib
import json
from urllib.parse import quote

import boto3
import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from sandbox_gateway.doors.agentcore.routes import OPERATIONS, SESSION_HEADER
from tests.support.simple_gateway import RunningGateway

SYSTEM = "aws.codeinterpreter.v1"


@pytest.fixture(scope="module")
def gateway():
    with RunningGateway(["agentcore", "mcp"]) as running:
        yield running


@pytest.fixture(scope="module")
def empty():
    with RunningGateway(["agentcore", "mcp"], starts=False) as running:
        yield running


@pytest.fixture
def aws(gateway):
    keys = {"aws_access_key_id": "one", "aws_secret_access_key": "x", "region_name": "us-east-1"}
    client = boto3.client("bedrock-agentcore", endpoint_url=gateway.url, **keys)
    yield client
    client.close()


async def test_a_session_is_used_through_two_doors(gateway, aws):
    session = aws.start_code_interpreter_session(codeInterpreterIdentifier=SYSTEM)["sessionId"]

    def execute(code):
        reply = aws.invoke_code_interpreter(
            codeInterpreterIdentifier=SYSTEM, sessionId=session, name="executeCode", arguments={"code": code}
        )
        return [event["result"]["structuredContent"]["stdout"] for event in reply["stream"]]

    headers = {"Authorization": "Bearer one", "Sandbox-Session": session}
    await asyncio.to_thread(execute, "shared = [1]")
    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx2.AsyncClient(headers=headers, timeout=60))
        client = await stack.enter_async_context(Client(streamable_http_client(f"{gateway.url}/mcp", http_client=http)))
        await client.call_tool("execute_code", {"code": "shared.append(2)"})
        assert await asyncio.to_thread(execute, "print(shared)") == ["[1, 2]\n"]
        await client.call_tool("file_operations", {"operation": "write", "content": [{"path": "a", "text": "b"}]})
        shown = await asyncio.to_thread(execute, "print(open('a').read())")
        assert shown == ["b\n"]
        # What one door ends is over for the other one, which begins again.
        await asyncio.to_thread(aws.stop_code_interpreter_session, codeInterpreterIdentifier=SYSTEM, sessionId=session)
        again = await client.call_tool("execute_code", {"code": "print('new')"})
        assert "a new one was started" in again.content[0].text


TEXT = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=60)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ["name", "arguments", "sessionTimeoutSeconds", "clientToken", "maxResults", "nextToken", "status"]
BODY = st.binary(max_size=100) | st.dictionaries(st.sampled_from(FIELDS), JSON).map(
    lambda value: json.dumps(value).encode()
)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([(method, path) for method, path, _ in OPERATIONS.values()]),
    TEXT,
    BODY,
    st.dictionaries(st.sampled_from(["sessionId", "maxResults", "nextToken", "type"]), TEXT),
    TEXT,
)
def test_whatever_is_sent_to_the_agentcore_door_gets_an_answer_in_its_form(empty, target, name, body, query, session):
    method, path = target
    created = len(empty.backend.created)
    headers = {"Authorization": "AWS4-HMAC-SHA256 Credential=one/x", SESSION_HEADER: session.strip()}
    with httpx2.Client(base_url=empty.url, timeout=60) as http:
        path = path.replace("{identifier:path}", quote(name, safe=""))
        answer = http.request(method, path, params=query, content=body, headers=headers)
    if answer.status_code in (404, 405) and "x-amzn-errortype" not in answer.headers:
        return
    assert answer.status_code < 500, answer.text
    assert answer.headers["x-amzn-requestid"]
    assert ("x-amzn-errortype" in answer.headers) == (answer.status_code >= 400)
    if answer.status_code >= 400:
        assert answer.json()["message"]
    assert len(empty.backend.created) - created <= 1


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    BODY,
    TEXT,
    st.sampled_from(["2026-07-28", "2025-11-25", "1999-01-01", ""]),
    st.sampled_from(["POST", "GET", "DELETE"]),
)
def test_whatever_is_sent_to_the_mcp_door_is_refused_without_a_fault(empty, body, session, version, method):
    headers = {
        "Authorization": "Bearer one",
        "Sandbox-Session": session.strip(),
        "MCP-Protocol-Version": version,
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
    }
    with (
        httpx2.Client(timeout=60) as http,
        http.stream(method, f"{empty.url}/mcp", content=body, headers=headers) as got,
    ):
        assert got.status_code < 500
