"""Errors of cells in a session without a network: which ones the lack of a network has caused."""

import pytest

from sandbox_runtime.execution.missing_network import name_missing_network

NOTE = "  this session has no network"


@pytest.mark.parametrize(
    "line",
    [
        "    _socket.socket.__init__(self, family, type, proto, fileno)",
        "socket.gaierror: [Errno -3] Temporary failure in name resolution",
        "socket.gaierror: [Errno -2] Name or service not known",
        "Error: connect EACCES 127.0.0.1:9",
        "[cause]: Error: getaddrinfo EAI_AGAIN a.example",
        "Error: getaddrinfo ENOTFOUND a.example",
    ],
)
def test_an_error_for_lack_of_a_network_says_so(line):
    event = {"type": "error", "name": "E", "value": "", "traceback": [line, "E"]}
    assert name_missing_network(event) == {**event, "limit": "network", "traceback": [line, "E", NOTE]}
    value = {"type": "error", "name": "E", "value": line, "traceback": []}
    assert name_missing_network(value)["limit"] == "network"


@pytest.mark.parametrize(
    "event",
    [
        {"type": "error", "name": "E", "value": "1", "traceback": ["ZeroDivisionError: division by zero"]},
        {"type": "error", "name": "E", "value": "connect EACCES /run/a.sock", "traceback": []},
        {"type": "error", "name": "E", "value": "ENOTFOUND", "traceback": [], "limit": "disk"},
        {"type": "error", "name": "E", "value": "ENOTFOUND", "traceback": "forged"},
        {"type": "error", "name": "E", "value": 5, "traceback": [5, None]},
        {"type": "error"},
    ],
)
def test_other_errors_stay_as_they_are(event):
    assert name_missing_network(event) == event
