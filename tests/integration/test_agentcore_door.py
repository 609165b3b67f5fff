"""The AgentCore door with an unmodified boto3 client, over sessions of this machine."""

import base64
import concurrent.futures
import re
import time
import urllib.error
import urllib.request

import boto3
import botocore.config
import botocore.exceptions
import pytest
import urllib3

from sandbox_gateway.doors.agentcore import routes
from tests.support.aws_model import reply_problems
from tests.support.simple_gateway import RunningGateway

SYSTEM = "aws.codeinterpreter.v1"
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
CLIENTS = []


@pytest.fixture(scope="module")
def gateway():
    with RunningGateway(["agentcore"]) as running:
        yield running
        for client in CLIENTS:
            client.close()


def open_client(gateway, monkeypatch, key="one", service="bedrock-agentcore"):
    for name in ("AWS_ENDPOINT_URL_BEDROCK_AGENTCORE", "AWS_ENDPOINT_URL_BEDROCK_AGENTCORE_CONTROL"):
        monkeypatch.setenv(name, gateway.url)
    config = botocore.config.Config(retries={"total_max_attempts": 1})
    session = boto3.Session(aws_access_key_id=key, aws_secret_access_key="x", region_name="us-east-1")
    client = session.client(service, config=config)
    client.meta.events.register("response-received.*", check_reply)
    CLIENTS.append(client)
    return client


def check_reply(response_dict, **_):
    assert reply_problems(response_dict) == []


@pytest.fixture
def client(gateway, monkeypatch):
    return open_client(gateway, monkeypatch)


@pytest.fixture
def control(gateway, monkeypatch):
    return open_client(gateway, monkeypatch, service="bedrock-agentcore-control")


@pytest.fixture(scope="module")
def session_id(gateway):
    with pytest.MonkeyPatch.context() as patch:
        client = open_client(gateway, patch)
        started = client.start_code_interpreter_session(codeInterpreterIdentifier=SYSTEM, name="shared")
    return started["sessionId"]


@pytest.fixture
def invoke(client, session_id):
    def call(name, **arguments):
        reply = client.invoke_code_interpreter(
            codeInterpreterIdentifier=SYSTEM, sessionId=session_id, name=name, arguments=arguments
        )
        assert reply["sessionId"] == session_id
        (event,) = reply["stream"]
        result = event["result"]
        for block in result["content"]:
            assert "type" in block
        return result

    return call


def text_of(result):
    return "\n".join(block["text"] for block in result["content"] if block["type"] == "text")


# Sessions


def test_a_session_is_started_shown_listed_and_stopped(client):
    started = client.start_code_interpreter_session(
        codeInterpreterIdentifier=SYSTEM, name="report", sessionTimeoutSeconds=60
    )
    session = started["sessionId"]
    assert re.fullmatch("[0-9a-zA-Z]{1,40}", session)
    assert started["codeInterpreterIdentifier"] == SYSTEM
    shown = client.get_code_interpreter_session(codeInterpreterIdentifier=SYSTEM, sessionId=session)
    assert {key: shown[key] for key in ("name", "status", "sessionTimeoutSeconds", "createdAt")} == {
        "name": "report",
        "status": "READY",
        "sessionTimeoutSeconds": 60,
        "createdAt": started["createdAt"],
    }
    listed = client.list_code_interpreter_sessions(codeInterpreterIdentifier=SYSTEM, status="READY")["items"]
    assert session in [each["sessionId"] for each in listed]
    stopped = client.stop_code_interpreter_session(codeInterpreterIdentifier=SYSTEM, sessionId=session)
    assert stopped["sessionId"] == session
    with pytest.raises(client.exceptions.ResourceNotFoundException, match=session):
        client.get_code_interpreter_session(codeInterpreterIdentifier=SYSTEM, sessionId=session)


def test_a_repeated_start_returns_the_same_session_and_other_parameters_are_refused(client, gateway):
    token = "a" * 40
    first, second = (
        client.start_code_interpreter_session(codeInterpreterIdentifier=SYSTEM, name="one", clientToken=token)
        for _ in range(2)
    )
    assert first["sessionId"] == second["sessionId"]
    with pytest.raises(client.exceptions.ValidationException) as refused:
        client.start_code_interpreter_session(codeInterpreterIdentifier=SYSTEM, name="two", clientToken=token)
    assert refused.value.response["reason"] == "IdempotentParameterMismatchException"
    client.stop_code_interpreter_session(codeInterpreterIdentifier=SYSTEM, sessionId=first["sessionId"])


def test_lists_have_pages(client, session_id):
    other = client.start_code_interpreter_session(codeInterpreterIdentifier=SYSTEM)["sessionId"]
    found, token = [], {}
    for _ in range(2):
        page = client.list_code_interpreter_sessions(codeInterpreterIdentifier=SYSTEM, maxResults=1, **token)
        found += [each["sessionId"] for each in page["items"]]
        token = {"nextToken": page.get("nextToken", "")}
    assert sorted(found) == sorted([other, session_id])
    assert "nextToken" not in page
    client.stop_code_interpreter_session(codeInterpreterIdentifier=SYSTEM, sessionId=other)


def test_a_session_of_another_namespace_does_not_exist(gateway, monkeypatch, session_id):
    stranger = open_client(gateway, monkeypatch, "other")
    for call in (
        stranger.get_code_interpreter_session,
        stranger.stop_code_interpreter_session,
        lambda **given: stranger.invoke_code_interpreter(name="listFiles", **given),
    ):
        with pytest.raises(stranger.exceptions.ResourceNotFoundException):
            call(codeInterpreterIdentifier=SYSTEM, sessionId=session_id)
    assert stranger.list_code_interpreter_sessions(codeInterpreterIdentifier=SYSTEM)["items"] == []


def test_a_session_belongs_to_its_code_interpreter(client, session_id):
    with pytest.raises(client.exceptions.ResourceNotFoundException, match="python-small has no session"):
        client.get_code_interpreter_session(codeInterpreterIdentifier="python-small", sessionId=session_id)


def test_a_wrong_key_is_refused_in_aws_form(gateway, monkeypatch):
    stranger = open_client(gateway, monkeypatch, "wrong")
    with pytest.raises(stranger.exceptions.AccessDeniedException, match="the key is not known") as refused:
        stranger.start_code_interpreter_session(codeInterpreterIdentifier=SYSTEM)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert refused.value.response["ResponseMetadata"]["RequestId"]


# Tools


def test_execute_code_keeps_variables_and_separates_the_streams(invoke):
    invoke("executeCode", code="x = 41", language="python")
    result = invoke("executeCode", code="import sys; print('out'); print('err', file=sys.stderr); x + 1")
    structured = result["structuredContent"]
    assert structured["stdout"] == "out\n42"
    assert structured["stderr"] == "err\n"
    assert structured["exitCode"] == 0
    assert 0 < structured["executionTime"] < 30
    assert not result["isError"]
    assert [block["text"] for block in result["content"]] == ["out\n42", "err\n"]


@pytest.mark.parametrize(
    ("language", "code"),
    [("javascript", "console.log(6 * 7)"), ("typescript", "const n: number = 42; console.log(n)")],
)
def test_the_other_languages_run(invoke, language, code):
    assert invoke("executeCode", code=code, language=language)["structuredContent"]["stdout"] == "42\n"
    assert invoke("executeCode", code=code, language=language, runtime="nodejs")["isError"] is False


def test_an_exception_is_an_error_with_its_traceback_and_the_session_stays_usable(invoke):
    result = invoke("executeCode", code="print('before'); 1 / 0")
    assert result["isError"]
    assert result["structuredContent"]["stdout"] == "before\n"
    assert "ZeroDivisionError: division by zero" in result["structuredContent"]["stderr"]
    assert result["structuredContent"]["exitCode"] == 1
    assert invoke("executeCode", code="print(1)")["structuredContent"]["stdout"] == "1\n"


def test_no_output_is_an_empty_text(invoke):
    result = invoke("executeCode", code="pass")
    assert result["content"] == [{"type": "text", "text": ""}]


def test_clear_context_loses_the_variables_of_python(invoke):
    invoke("executeCode", code="kept = 1")
    result = invoke("executeCode", code="kept", clearContext=True)
    assert "NameError" in result["structuredContent"]["stderr"]
    # The method `clear_context` of the SDK does this.
    assert not invoke("executeCode", code="# Context cleared", language="python", clearContext=True)["isError"]


def test_a_chart_is_an_image(invoke):
    result = invoke("executeCode", code="import matplotlib.pyplot as p; p.plot([1, 2]); p.show()")
    (image,) = (block for block in result["content"] if block["type"] == "image")
    assert image["mimeType"] == "image/png"
    assert image["data"].startswith(b"\x89PNG")


def test_execute_command_returns_its_exit_code(invoke):
    result = invoke("executeCommand", command="echo out; echo err >&2; exit 3")
    assert result["isError"]
    structured = result["structuredContent"]
    assert (structured["stdout"], structured["stderr"], structured["exitCode"]) == ("out\n", "err\n", 3)


def test_files_are_written_listed_read_and_removed(invoke):
    content = [{"path": "in/a.csv", "text": "x,y\n1,2\n"}, {"path": "in/b.png", "blob": PNG}, {"path": "e", "text": ""}]
    assert text_of(invoke("writeFiles", content=content)) == "Successfully wrote all 3 files"
    listed = invoke("listFiles", path="in")["content"]
    assert [(each["type"], each["uri"], each["name"], each["mimeType"]) for each in listed] == [
        ("resource_link", "file://in/a.csv", "a.csv", "text/csv"),
        ("resource_link", "file://in/b.png", "b.png", "image/png"),
    ]
    folder = next(each for each in invoke("listFiles", directoryPath="")["content"] if each["name"] == "in")
    assert folder["description"] == "Directory"
    read = [block["resource"] for block in invoke("readFiles", paths=["in/a.csv", "in/b.png", "e"])["content"]]
    assert read == [
        {"type": "text", "uri": "file://in/a.csv", "mimeType": "text/csv", "text": "x,y\n1,2\n"},
        {"type": "blob", "uri": "file://in/b.png", "mimeType": "image/png", "blob": PNG},
        {"type": "text", "uri": "file://e", "mimeType": "text/plain", "text": ""},
    ]
    assert text_of(invoke("removeFiles", paths=["in", "e"])) == "Successfully removed all 2 files"
    assert invoke("listFiles", path="in")["isError"]


def test_a_missing_file_is_an_error_beside_what_was_read(invoke):
    invoke("writeFiles", content=[{"path": "here.txt", "text": "here"}])
    result = invoke("readFiles", paths=["here.txt", "missing.txt"])
    assert result["isError"]
    assert [block["type"] for block in result["content"]] == ["resource", "text"]
    assert "missing.txt" in text_of(result)
    removed = invoke("removeFiles", paths=["here.txt", "missing.txt"])
    assert removed["isError"]
    assert text_of(removed).startswith("removed 1 of 2 files\nmissing.txt: ")


@pytest.mark.parametrize("path", ["../outside.txt", "a/../../outside.txt", "/etc/cron.d/x"])
def test_a_path_that_leads_out_is_refused(invoke, path):
    assert invoke("writeFiles", content=[{"path": path, "text": "x"}])["isError"]


def test_files_too_large_for_one_event_come_in_several_and_one_that_is_too_large_is_named(invoke, client, session_id):
    invoke("executeCommand", command="for n in 1 2; do head -c 9000000 /dev/zero > big$n; done; truncate -s 1G huge")
    reply = client.invoke_code_interpreter(
        codeInterpreterIdentifier=SYSTEM,
        sessionId=session_id,
        name="readFiles",
        arguments={"paths": ["big1", "huge", "big2"]},
    )
    events = [event["result"] for event in reply["stream"]]
    read = {block["resource"]["uri"]: len(block["resource"]["blob"]) for e in events for block in e["content"][:1]}
    assert read == {"file://big1": 9000000, "file://big2": 9000000}
    assert [event["isError"] for event in events] == [False, True]
    assert "huge: it is too large for one event" in events[1]["content"][1]["text"]
    invoke("removeFiles", paths=["big1", "big2", "huge"])


def test_output_of_many_megabytes_fits_into_an_event(invoke):
    result = invoke("executeCode", code="print('\\x01' * 8_000_000)")
    assert "characters left out" in result["structuredContent"]["stdout"] or result["structuredContent"]["stderr"]
    assert not result["isError"]


def test_a_task_runs_by_itself_until_it_ends(invoke):
    started = invoke("startCommandExecution", command="echo begun; sleep 1; echo ended; exit 4")["structuredContent"]
    assert started["taskStatus"] == "submitted"
    task = started["taskId"]
    assert invoke("getTask", taskId=task)["structuredContent"]["taskStatus"] == "working"
    deadline = time.monotonic() + 30
    while (result := invoke("getTask", taskId=task))["structuredContent"]["taskStatus"] == "working":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    structured = result["structuredContent"]
    assert structured["taskStatus"] == "failed"
    assert (structured["stdout"], structured["exitCode"], structured["taskId"]) == ("begun\nended\n", 4, task)
    refused = invoke("stopTask", taskId=task)
    assert refused["isError"]
    assert "cannot be canceled" in text_of(refused)


def test_a_stopped_task_is_canceled(invoke):
    task = invoke("startCommandExecution", command="sleep 100")["structuredContent"]["taskId"]
    assert invoke("stopTask", taskId=task)["structuredContent"]["taskStatus"] == "canceled"
    deadline = time.monotonic() + 30
    while (status := invoke("getTask", taskId=task)["structuredContent"]["taskStatus"]) == "working":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert status == "canceled"


def test_a_missing_task_is_an_error(invoke):
    for tool in ("getTask", "stopTask"):
        assert invoke(tool, taskId="nothing")["isError"]


@pytest.mark.parametrize(
    ("name", "arguments", "field"),
    [
        ("executeCode", {}, "arguments.code"),
        ("executeCode", {"code": " "}, "arguments.code"),
        ("executeCode", {"code": "1", "language": "ruby"}, "arguments.language"),
        ("executeCode", {"code": "1", "runtime": "deno"}, "arguments.runtime"),
        ("executeCode", {"code": "1", "language": "python", "runtime": "nodejs"}, "arguments.runtime"),
        ("executeCommand", {}, "arguments.command"),
        ("readFiles", {}, "arguments.paths"),
        ("removeFiles", {"paths": []}, "arguments.paths"),
        ("writeFiles", {}, "arguments.content"),
        ("writeFiles", {"content": [{"path": "a"}]}, "arguments.content[0]"),
        ("writeFiles", {"content": [{"path": "a", "text": "", "blob": b""}]}, "arguments.content[0]"),
        ("getTask", {}, "arguments.taskId"),
        ("drawPicture", {}, "name"),
    ],
)
def test_a_wrong_argument_is_a_validation_exception_that_names_it(client, session_id, name, arguments, field):
    with pytest.raises(client.exceptions.ValidationException) as refused:
        client.invoke_code_interpreter(
            codeInterpreterIdentifier=SYSTEM, sessionId=session_id, name=name, arguments=arguments
        )
    response = refused.value.response
    assert response["reason"] == "FieldValidationFailed"
    assert response["fieldList"][0]["name"] == field
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 400


def test_a_missing_session_id_is_a_validation_exception(client):
    with pytest.raises(client.exceptions.ValidationException, match="start a session"):
        client.invoke_code_interpreter(codeInterpreterIdentifier=SYSTEM, name="listFiles")


def test_an_error_while_a_tool_runs_ends_the_stream_and_is_not_repeated(client, gateway, session_id, monkeypatch):
    sandbox = gateway.backend.sandboxes["one", session_id]
    calls = []

    async def fail(*_args, **_options):
        calls.append(1)
        raise RuntimeError

    monkeypatch.setattr(sandbox, "run_code", fail)
    reply = client.invoke_code_interpreter(
        codeInterpreterIdentifier=SYSTEM, sessionId=session_id, name="executeCode", arguments={"code": "1"}
    )
    with pytest.raises(botocore.exceptions.EventStreamError, match="internalServerException"):
        list(reply["stream"])
    reply["stream"].close()
    assert calls == [1]


# The control plane


def test_a_template_is_a_code_interpreter_with_a_network_mode(client, control, gateway):
    created = control.create_code_interpreter(name="data_tools", networkConfiguration={"networkMode": "SANDBOX"})
    identifier = created["codeInterpreterId"]
    assert re.fullmatch("data_tools-[a-zA-Z0-9]{10}", identifier)
    session = client.start_code_interpreter_session(codeInterpreterIdentifier=identifier)["sessionId"]
    assert (gateway.backend.created[-1].template, gateway.backend.created[-1].egress) == ("data-tools", "none")
    shown = control.get_code_interpreter(codeInterpreterId=identifier)
    assert (shown["name"], shown["networkConfiguration"]) == ("data_tools", {"networkMode": "SANDBOX"})
    client.stop_code_interpreter_session(codeInterpreterIdentifier=identifier, sessionId=session)
    with pytest.raises(control.exceptions.AccessDeniedException, match="only an administrator"):
        control.delete_code_interpreter(codeInterpreterId=identifier)
    assert [each["codeInterpreterId"] for each in control.list_code_interpreters()["codeInterpreterSummaries"]] == [
        SYSTEM
    ]


def test_a_network_mode_that_needs_aws_is_refused(control):
    network = {"networkMode": "VPC", "vpcConfig": {"securityGroups": ["sg-12345678"], "subnets": ["subnet-12345678"]}}
    with pytest.raises(control.exceptions.ValidationException, match="VPC needs AWS"):
        control.create_code_interpreter(name="x", networkConfiguration=network)


@pytest.mark.parametrize(("path", "size"), [("tools/invoke", 1 << 40), ("sessions/start", 2 << 20)])
def test_a_body_that_is_too_large_is_refused(gateway, path, size):
    url = f"{gateway.url}/code-interpreters/{SYSTEM}/{path}"
    headers = {"content-length": str(size), "authorization": "AWS4-HMAC-SHA256 Credential=one/x"}
    request = urllib.request.Request(url, method="POST" if "invoke" in path else "PUT", headers=headers)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=10)
    assert refused.value.code == 413
    refused.value.close()


def test_a_client_that_goes_away_cancels_nothing(client, session_id, invoke, monkeypatch):
    monkeypatch.setattr(routes, "_ORDERED_SECONDS", 0.5)
    impatient = client.meta.config.merge(botocore.config.Config(read_timeout=2))
    keys = {"aws_access_key_id": "one", "aws_secret_access_key": "x", "region_name": "us-east-1"}
    other = boto3.client("bedrock-agentcore", endpoint_url=client.meta.endpoint_url, config=impatient, **keys)
    reply = other.invoke_code_interpreter(
        codeInterpreterIdentifier=SYSTEM,
        sessionId=session_id,
        name="executeCode",
        arguments={"code": "import time; time.sleep(4); finished = 42"},
    )
    with pytest.raises(urllib3.exceptions.ReadTimeoutError):
        list(reply["stream"])
    reply["stream"].close()
    other.close()
    # Cells run one after another.
    assert invoke("executeCode", code="finished")["structuredContent"]["stdout"] == "42"


def test_a_call_whose_answer_is_not_read_is_done_before_the_next_one(client, session_id, invoke):
    target = {"codeInterpreterIdentifier": SYSTEM, "sessionId": session_id}
    for number in range(5):
        invoke("executeCode", code="kept = 1")
        arguments = {"code": "# Context cleared", "language": "python", "clearContext": True}
        unread = client.invoke_code_interpreter(**target, name="executeCode", arguments=arguments)
        content = [{"path": "unread.txt", "text": str(number)}]
        other = client.invoke_code_interpreter(**target, name="writeFiles", arguments={"content": content})
        assert "NameError" in invoke("executeCode", code="kept")["structuredContent"]["stderr"]
        assert invoke("executeCommand", command="cat unread.txt")["structuredContent"]["stdout"] == str(number)
        unread["stream"].close()
        other["stream"].close()


def test_calls_run_beside_each_other(client, session_id, invoke):
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        started = time.monotonic()
        slow = pool.submit(invoke, "executeCommand", command="sleep 3")
        quick = [pool.submit(invoke, "executeCommand", command="echo x") for _ in range(6)]
        assert {each.result()["structuredContent"]["stdout"] for each in quick} == {"x\n"}
        assert not slow.done()
        assert slow.result()["structuredContent"]["executionTime"] > 2.9
        assert time.monotonic() - started < 60


def test_a_file_of_many_megabytes_is_written_and_read_in_one_call(invoke):
    content = bytes(range(256)) * 40_000
    assert not invoke("writeFiles", content=[{"path": "large.bin", "blob": content}])["isError"]
    (block,) = invoke("readFiles", paths=["large.bin"])["content"]
    assert block["resource"]["blob"] == content
    invoke("removeFiles", paths=["large.bin"])
