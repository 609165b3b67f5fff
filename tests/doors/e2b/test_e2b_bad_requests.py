"""Requests that no SDK sends: halves, wrong forms, too much."""

import gzip
import json
import socket
import time

import pytest


@pytest.fixture
def send(shared, gateway):
    """Sends a request to the shared sandbox. Returns its status and body."""
    token = shared.connection_config.sandbox_headers["X-Access-Token"]
    own = {"Host": "x", "E2b-Sandbox-Id": shared.sandbox_id, "X-Access-Token": token, "Connection": "close"}
    host, port = gateway.removeprefix("http://").split(":")

    def call(line, body=b"", *, closes=False, port_inside=49983, **headers):
        given = {**own, "E2b-Sandbox-Port": str(port_inside), "Content-Length": str(len(body))}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        text = "".join(f"{name}: {value}\r\n" for name, value in given.items())
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(f"{line} HTTP/1.1\r\n{text}\r\n".encode() + body)
            if closes:
                return None
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        head, _, content = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), content

    return call


def test_half_an_upload_writes_nothing(shared, send):
    shared.files.write("half", "before")
    send("POST /files?path=half", b"x" * 1000, closes=True, Content_Length="1000000")
    time.sleep(1)
    assert shared.files.read("half") == "before"
    assert [each.name for each in shared.files.list(".") if "half" in each.name] == ["half"]


@pytest.mark.parametrize(
    ("encoding", "body", "words"),
    [
        ("gzip", b"abcd", b"not gzip"),
        ("gzip", gzip.compress(b"x" * 100_000)[:-20], b"ends too early"),
        ("br", b"abcd", b"use gzip"),
    ],
)
def test_packed_uploads_that_cannot_be_unpacked(shared, send, encoding, body, words):
    status, answer = send("POST /files?path=packed", body, Content_Encoding=encoding)
    assert (status, words in answer) == (400, True)
    assert not shared.files.exists("packed")


@pytest.mark.parametrize("kind", ["multipart/form-data", "multipart/form-data; boundary=x"])
def test_forms_that_are_none(send, kind):
    status, answer = send("POST /files", b"abcd", Content_Type=kind)
    assert (status, json.loads(answer)["code"]) == (400, 400)


def test_an_upload_without_a_path(send):
    assert send("POST /files", b"abcd")[0] == 400


def test_a_body_that_is_too_large(send):
    assert send("POST /files?path=large", b"abcd", Content_Length=str(6 << 30))[0] == 413
    assert send("POST /execute", b"{}", port_inside=49999, Content_Length=str(1 << 40))[0] == 413


@pytest.mark.parametrize("path", ["/process.Process/Start", "/filesystem.Filesystem/WatchDir", "/process.Process/List"])
def test_bodies_of_another_kind(send, path):
    assert send(f"POST {path}", b"{}", Content_Type="text/plain")[0] == 415
    assert send(f"GET {path}")[0] == 405


@pytest.mark.parametrize("body", [b"", b"\0\0\0\0\x09{}", b"\0\0\0\0\x02{}" * 2, b"\xff" * 9, b"\0\0\0\0\x02[]"])
def test_streams_that_are_none(send, body):
    status, answer = send("POST /process.Process/Start", body, Content_Type="application/connect+json")
    assert (status, b'"error":{"code":' in answer) == (200, True)


@pytest.mark.parametrize("body", [b"nope", b"[]", b"{" * 100_000, b'{"process":{"pid":"x"}}', b"\xff"])
def test_json_that_is_none(send, body):
    status, answer = send("POST /process.Process/SendSignal", body, Content_Type="application/json")
    assert (status, json.loads(answer)["code"]) == (400, "invalid_argument")


@pytest.mark.parametrize("body", [b"nope", b'{"code": 1}', b'{"code": "1", "context_id": "a", "language": "python"}'])
def test_cells_that_are_none(send, body):
    assert send("POST /execute", body, port_inside=49999)[0] == 400


def test_calls_that_do_not_exist(send):
    status, answer = send("POST /process.Process/Fly", b"{}", Content_Type="application/json")
    assert (status, json.loads(answer)["code"]) == (501, "unimplemented")
    assert send("GET /nothing", port_inside=49999)[0] == 404
    status, answer = send("GET /metrics")
    assert (status, b"not supported" in answer) == (501, True)


def test_files_are_composed(shared, send):
    for name in ("one", "two"):
        shared.files.write(f"parts/{name}", name)
    body = json.dumps({"source_paths": ["parts/one", "/home/user/parts/two"], "destination": "whole"}).encode()
    status, answer = send("POST /files/compose", body, Content_Type="application/json")
    assert (status, json.loads(answer)["name"]) == (200, "whole")
    assert shared.files.read("whole") == "onetwo"
    assert shared.files.list("parts") == []


def test_the_environment_of_the_sandbox(send):
    status, answer = send("GET /envs")
    assert (status, json.loads(answer)["GREETING"]) == (200, "hello")


def test_many_commands_at_once(shared):
    handles = [shared.commands.run("sleep 2; echo x", background=True) for _ in range(20)]
    assert [handle.wait().stdout for handle in handles] == ["x\n"] * 20


def test_a_file_of_200_mebibytes_goes_there_and_back(shared):
    shared.files.write("large", (b"\0" * (1 << 20) for _ in range(200)))
    assert sum(len(chunk) for chunk in shared.files.read("large", format="stream")) == 200 << 20
    shared.files.remove("large")
