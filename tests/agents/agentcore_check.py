"""Runs the unmodified `bedrock_agentcore` SDK and Strands' `AgentCoreCodeInterpreter` against the AgentCore door."""

import json
import os
import re
import subprocess
import sys
import tempfile
import threading

from bedrock_agentcore.tools.code_interpreter_client import CodeInterpreter, code_session
from strands_tools.code_interpreter import AgentCoreCodeInterpreter

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


def result_of(reply):
    """Return the result of a call, and check that it is one event."""
    (event,) = reply["stream"]
    return event["result"]


def stdout_of(reply):
    """Return what code or a command printed."""
    result = result_of(reply)
    assert not result["isError"], result
    return result["structuredContent"]["stdout"]


def check_sdk():
    """Call each method of the SDK's client. Return how many."""
    client = CodeInterpreter("us-west-2")
    session = client.start(name="check", session_timeout_seconds=300)
    assert client.get_session()["status"] == "READY"
    assert session in [each["sessionId"] for each in client.list_sessions(status="READY")["items"]]
    assert stdout_of(client.execute_code("kept = 41")) == ""
    assert stdout_of(client.execute_code("print(kept + 1)")) == "42\n"
    assert stdout_of(client.execute_code("console.log(6 * 7)", language="javascript")) == "42\n"
    assert stdout_of(client.execute_code("const n: number = 42; console.log(n)", language="typescript")) == "42\n"
    assert stdout_of(client.execute_command("echo $((6 * 7))")) == "42\n"
    client.clear_context()
    assert "NameError" in result_of(client.execute_code("kept"))["structuredContent"]["stderr"]
    assert not result_of(client.upload_file("data/in.csv", "x,y\n1,2\n", description="numbers"))["isError"]
    files = [{"path": "a.txt", "content": "grüße"}, {"path": "b.png", "content": PNG}]
    assert not result_of(client.upload_files(files))["isError"]
    assert client.download_file("data/in.csv") == "x,y\n1,2\n"
    assert client.download_files(["a.txt", "b.png"]) == {"a.txt": "grüße", "b.png": PNG}
    try:
        client.download_file("missing.txt")
    except FileNotFoundError:
        pass
    else:
        raise AssertionError
    # Nothing is downloaded: the package is there already.
    assert "already satisfied" in stdout_of(client.install_packages(["pip"]))
    names = [block["name"] for block in result_of(client.invoke("listFiles"))["content"]]
    assert {"a.txt", "b.png", "data"} <= set(names), names
    assert client.stop()
    with code_session("us-west-2") as other:
        assert other.session_id != session
        assert stdout_of(other.execute_code("print('hello')")) == "hello\n"
    created = client.create_code_interpreter("my_tools", "arn:aws:iam::123456789012:role/x")
    identifier = created["codeInterpreterId"]
    assert client.get_code_interpreter(identifier)["networkConfiguration"] == {"networkMode": "PUBLIC"}
    assert client.list_code_interpreters()["codeInterpreterSummaries"]
    try:
        client.delete_code_interpreter(identifier)
    except client.control_plane_client.exceptions.AccessDeniedException:
        pass
    else:
        raise AssertionError
    return 20


def check_strands():
    """Call each action of Strands' tool, as an agent does. Return how many."""

    def call(interpreter, type_, **arguments):
        action = {"type": type_, **arguments}
        result = interpreter.code_interpreter(code_interpreter_input={"action": action})
        assert result["status"] == "success", result
        return str(result["content"])

    first = AgentCoreCodeInterpreter(region="us-west-2", session_name="conversation-1")
    call(first, "initSession", session_name="conversation-1", description="check")
    assert "conversation-1" in call(first, "listLocalSessions")
    call(first, "executeCode", code="kept = 41", language="python")
    # Another instance of the same process finds the session again.
    second = AgentCoreCodeInterpreter(region="us-west-2", session_name="conversation-1")
    assert "42" in call(second, "executeCode", code="print(kept + 1)", language="python")
    assert "hello" in call(second, "executeCommand", command="echo hello")
    call(second, "writeFiles", content=[{"path": "notes.txt", "text": "remember"}])
    assert "remember" in call(second, "readFiles", paths=["notes.txt"])
    assert "notes.txt" in call(second, "listFiles", path=".")
    call(second, "removeFiles", paths=["notes.txt"])
    assert "NameError" in call(second, "executeCode", code="kept", language="python", clear_context=True)
    # A session of its own, which ends with the instance.
    third = AgentCoreCodeInterpreter(region="us-west-2", persist_sessions=False)
    assert "NameError" in call(third, "executeCode", code="kept", language="python")
    third.cleanup_platform()
    return 11


def stop_all():
    """End the sessions that the checks left running."""
    client = CodeInterpreter("us-west-2")
    for session in client.list_sessions("aws.codeinterpreter.v1")["items"]:
        client.data_plane_client.stop_code_interpreter_session(
            codeInterpreterIdentifier="aws.codeinterpreter.v1", sessionId=session["sessionId"]
        )


def read_environment(listen):
    """Return the variables that `sandbox gateway env` prints, without those that AWS's SDKs read at their import."""
    command = ["sandbox", "gateway", "env", "--listen", listen, "--for", "agentcore", "-o", "json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main():
    """Start a gateway as its page says, and run both checks against it."""
    with tempfile.TemporaryDirectory() as state:
        os.environ["XDG_STATE_HOME"] = state
        with subprocess.Popen(["sandbox", "gateway", "--listen", "127.0.0.1:0"], stderr=subprocess.PIPE) as gateway:
            line = ""
            while not (found := re.search(r"listening on http://([^;]+);", line)):
                line = gateway.stderr.readline().decode()
                assert line, "the gateway did not start"
            # It writes one line per request.
            threading.Thread(target=gateway.stderr.read, daemon=True).start()
            os.environ |= read_environment(found[1])
            try:
                calls = check_sdk() + check_strands()
            finally:
                # Sessions of this machine outlive their gateway.
                stop_all()
                gateway.terminate()
    sys.stdout.write(f"agentcore: {calls} calls\n")


if __name__ == "__main__":
    main()
