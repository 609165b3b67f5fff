"""E2B's SDK: the life of sandboxes, lists, and access."""

import datetime as dt
import json
import os
import time
import urllib.error
import urllib.request
import uuid

import pytest
from e2b import (
    AuthenticationException,
    NotFoundException,
    SandboxException,
    SandboxQuery,
    SandboxState,
    TimeoutException,
)
from e2b_code_interpreter import Sandbox


def test_create_and_facts(new):
    sandbox = new("base", timeout=100, metadata={"who": "ada & bob", "ü": "=x"})
    info = sandbox.get_info()
    assert (info.sandbox_id, info.template_id, info.state) == (sandbox.sandbox_id, "base", SandboxState.RUNNING)
    assert info.metadata == {"who": "ada & bob", "ü": "=x"}
    assert 60 < (info.end_at - dt.datetime.now(dt.UTC)).total_seconds() <= 101
    assert sandbox.is_running()
    assert sandbox.get_host(3000) == f"3000-{sandbox.sandbox_id}.{os.environ['E2B_DOMAIN']}"
    assert os.environ["E2B_DOMAIN"].startswith("sandboxes.test:")
    assert sandbox.get_metrics() == []
    assert sandbox.kill()
    assert not sandbox.is_running()
    assert not sandbox.kill()
    with pytest.raises(NotFoundException):
        sandbox.get_info()
    with pytest.raises(TimeoutException):
        sandbox.commands.run("true")


def test_the_end_moves(new):
    sandbox = new(timeout=60)
    sandbox.set_timeout(600)
    assert (sandbox.get_info().end_at - dt.datetime.now(dt.UTC)).total_seconds() > 500
    Sandbox.connect(sandbox.sandbox_id, timeout=30)
    assert (sandbox.get_info().end_at - dt.datetime.now(dt.UTC)).total_seconds() > 500
    Sandbox.connect(sandbox.sandbox_id, timeout=3000)
    assert (sandbox.get_info().end_at - dt.datetime.now(dt.UTC)).total_seconds() > 2500


def test_a_sandbox_ends_at_its_time(new):
    sandbox = new(timeout=60)
    sandbox.set_timeout(2)
    wait_until(lambda: not sandbox.is_running())
    wait_until(lambda: sandbox.sandbox_id not in ids(Sandbox.list()))


def test_pause_and_resume_keep_files(new):
    sandbox = new(timeout=600)
    sandbox.files.write("kept.txt", "kept")
    assert sandbox.pause()
    assert not sandbox.is_running()
    assert sandbox.get_info().state == SandboxState.PAUSED
    assert not sandbox.pause()
    with pytest.raises(TimeoutException):
        sandbox.commands.run("true")
    again = Sandbox.connect(sandbox.sandbox_id, timeout=500)
    assert again.is_running()
    assert again.files.read("kept.txt") == "kept"
    assert sandbox.commands.run("cat kept.txt").stdout == "kept"


@pytest.mark.parametrize("lifecycle", [None, {"on_timeout": "pause", "auto_resume": True}])
def test_an_open_stream_does_not_undo_a_pause(new, lifecycle):
    sandbox = new(timeout=600, **({"lifecycle": lifecycle} if lifecycle else {}))
    handle = sandbox.commands.run("sleep 1000", background=True)
    assert sandbox.pause()
    with pytest.raises(Exception, match=r".+"):
        handle.wait()
    time.sleep(3)
    assert sandbox.get_info().state == SandboxState.PAUSED


def test_a_sandbox_pauses_at_its_end_and_wakes_by_traffic(new):
    sandbox = new(timeout=60, lifecycle={"on_timeout": "pause", "auto_resume": True})
    sandbox.files.write("kept.txt", "kept")
    sandbox.set_timeout(2)
    wait_until(lambda: sandbox.get_info().state == SandboxState.PAUSED)
    assert sandbox.files.read("kept.txt") == "kept"
    assert sandbox.get_info().state == SandboxState.RUNNING


def test_lists_with_filters_and_pages(new):
    mark = uuid.uuid4().hex
    first, second = new(metadata={"mark": mark, "n": "1"}), new(metadata={"mark": mark, "n": "2 & 3"})
    assert ids(Sandbox.list(SandboxQuery(metadata={"mark": mark}))) == [second.sandbox_id, first.sandbox_id]
    assert ids(Sandbox.list(SandboxQuery(metadata={"mark": mark, "n": "2 & 3"}))) == [second.sandbox_id]
    assert ids(Sandbox.list(SandboxQuery(metadata={"mark": "other"}))) == []
    pages = Sandbox.list(SandboxQuery(metadata={"mark": mark}), limit=1)
    found = [[each.sandbox_id for each in pages.next_items()] for _ in range(2)]
    assert found == [[second.sandbox_id], [first.sandbox_id]]
    assert not pages.has_next
    first.pause()
    query = SandboxQuery(metadata={"mark": mark}, state=[SandboxState.PAUSED])
    assert ids(Sandbox.list(query)) == [first.sandbox_id]
    query = SandboxQuery(metadata={"mark": mark}, state=[SandboxState.RUNNING])
    assert ids(Sandbox.list(query)) == [second.sandbox_id]


def test_the_same_idempotency_key_is_the_same_sandbox(new):
    key = uuid.uuid4().hex
    assert new(idempotency_key=key).sandbox_id == new(idempotency_key=key).sandbox_id


def test_a_wrong_key(gateway):
    with pytest.raises(AuthenticationException):
        Sandbox.create(api_key="e2b_" + "f" * 40)


def test_what_a_sandbox_cannot_do_has_a_reason(new):
    sandbox = new()
    with pytest.raises(SandboxException, match="snapshots are not supported"):
        sandbox.create_snapshot()
    with pytest.raises(SandboxException, match="there is no template"):
        new("no-such-template")
    with pytest.raises(SandboxException, match="network is not supported"):
        new(network={"deny_out": ["1.1.1.1"]})
    with pytest.raises(SandboxException, match="mcp is not supported"):
        new(mcp={"github": {}})


def test_no_internet_access(new):
    sandbox = new(allow_internet_access=False)
    connect = "socket.create_connection(('127.0.0.1', 1))"
    code = f"import socket\ntry:\n    {connect}\nexcept OSError as error:\n    print(error.errno)"
    assert sandbox.run_code(code).logs.stdout != ["111\n"]
    assert sandbox.get_info().allow_internet_access is False


def request(url, method="GET", body=None, **headers):
    data = None if body is None else json.dumps(body).encode()
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, given, method=method), timeout=30) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_tokens_of_a_sandbox_open_no_other(new, gateway):
    mine, other = new(), new()
    token = mine.connection_config.sandbox_headers["X-Access-Token"]
    headers = {"E2b_Sandbox_Port": "49983", "Content_Type": "application/json"}
    call = f"{gateway}/process.Process/List"
    assert request(call, "POST", {}, E2b_Sandbox_Id=mine.sandbox_id, X_Access_Token=token, **headers)[0] == 200
    assert request(call, "POST", {}, E2b_Sandbox_Id=other.sandbox_id, X_Access_Token=token, **headers)[0] == 502
    # The answer does not tell whether there is such a sandbox.
    absent = request(call, "POST", {}, E2b_Sandbox_Id="missing", X_Access_Token=token, **headers)
    present = request(call, "POST", {}, E2b_Sandbox_Id=other.sandbox_id, X_Access_Token=token, **headers)
    assert absent[0] == present[0]
    assert absent[1].replace(b"missing", b"") == present[1].replace(other.sandbox_id.encode(), b"")
    for identifier in (mine.sandbox_id, "missing"):
        assert request(call, "POST", {}, E2b_Sandbox_Id=identifier, **headers)[0] == 401
        assert request(f"{gateway}/health", E2b_Sandbox_Id=identifier)[0] == 401
    # A token for traffic is none for files and commands.
    traffic = {"X_Access_Token": mine.traffic_access_token}
    assert request(call, "POST", {}, E2b_Sandbox_Id=mine.sandbox_id, **traffic, **headers)[0] == 502


def test_the_host_chooses_the_sandbox(new, gateway):
    sandbox = new()
    token = sandbox.connection_config.sandbox_headers["X-Access-Token"]
    host = f"49983-{sandbox.sandbox_id}.sandboxes.test"
    assert request(f"{gateway}/health", Host=host, X_Access_Token=token)[0] == 204
    assert request(f"{gateway}/health", Host="49983-missing.sandboxes.test", X_Access_Token=token)[0] == 502


def test_the_first_generation_of_the_control_plane(gateway):
    key = {"X_API_KEY": __import__("os").environ["E2B_API_KEY"]}
    status, body = request(f"{gateway}/sandboxes", "POST", {"templateID": "base", "timeout": 60}, **key)
    made = json.loads(body)
    identifier = made["sandboxID"]
    assert (status, made["clientID"], made["templateID"]) == (201, "sandbox", "base")
    assert identifier in [each["sandboxID"] for each in json.loads(request(f"{gateway}/sandboxes", **key)[1])]
    assert request(f"{gateway}/sandboxes/{identifier}/refreshes", "POST", {"duration": 900}, **key)[0] == 204
    assert request(f"{gateway}/sandboxes/{identifier}/resume", "POST", {"timeout": 60}, **key)[0] == 409
    assert request(f"{gateway}/sandboxes/{identifier}/pause", "POST", {}, **key)[0] == 204
    assert identifier not in [each["sandboxID"] for each in json.loads(request(f"{gateway}/sandboxes", **key)[1])]
    assert request(f"{gateway}/sandboxes/{identifier}/resume", "POST", {"timeout": 60}, **key)[0] == 201
    assert request(f"{gateway}/sandboxes/{identifier}/connect", "POST", {"timeout": 60}, **key)[0] == 200
    assert request(f"{gateway}/sandboxes/{identifier}", "DELETE", **key)[0] == 204
    assert request(f"{gateway}/sandboxes/{identifier}", "DELETE", **key)[0] == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "templateID"),
        ({"templateID": 1}, "templateID"),
        ({"templateID": "base", "timeout": -1}, "timeout"),
        ({"templateID": "base", "timeout": "soon"}, "timeout"),
        ({"templateID": "base", "metadata": {"a": 1}}, "metadata"),
        ({"templateID": "base", "envVars": ["a"]}, "envVars"),
        ({"templateID": "base", "metadata": {"e2b.dev/x": ""}}, "e2b.dev/x"),
        ([], "object"),
    ],
)
def test_a_wrong_field_is_named(gateway, body, field):
    key = {"X_API_KEY": __import__("os").environ["E2B_API_KEY"]}
    status, answer = request(f"{gateway}/v2/sandboxes", "POST", body, **key)
    error = json.loads(answer)
    assert (status, error["code"]) == (400, 400)
    assert field in error["message"]


def ids(paginator):
    found = []
    while paginator.has_next:
        found += [each.sandbox_id for each in paginator.next_items()]
    return found


def wait_until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)
