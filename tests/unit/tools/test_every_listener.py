"""Every socket that the product listens on is known, with what bounds its connections."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGES = ("sandbox_agent", "sandbox_runtime", "sandbox_client", "sandbox_link", "operator", "proto")
CALLS = {"add_secure_port", "add_insecure_port", "start_server", "start_unix_server", "create_server", "TCPSite"}
CALLS |= {"UnixSite", "SockSite", "listen", "create_unix_server", "HTTPServer", "start_http_server"}

GUARDED = "the guard of sandbox_proto.connection_limits: tests/unit/agent/test_agent_connection_limits.py"
OWN_USER = "only this user may connect: a socket in a folder of mode 0700"
LISTENERS = {
    ("sandbox_agent/app.py", "add_secure_port"): GUARDED,
    ("sandbox_agent/server/http_endpoints.py", "start_server"): GUARDED,
    ("operator/sandbox_operator/app/health.py", "TCPSite"): "the same guard: tests/unit/operator/test_health_ports.py",
    ("sandbox_runtime/link/listeners.py", "listen"): "one agent at a time, 64 unknown streams, 10 s for a key",
    ("sandbox_runtime/link/server_connection.py", "listen"): "as above: it calls that function",
    ("sandbox_runtime/supervisor.py", "listen"): "as above: it calls that function",
    ("sandbox_client/local/named/keeper.py", "start_unix_server"): OWN_USER,
    ("sandbox_client/cluster/port_forward.py", "create_server"): "this machine's user, on loopback",
    ("sandbox_client/tools/mcp_server/serve.py", "create_server"): "this machine's user, on loopback",
}


def listeners() -> set[tuple[str, str]]:
    """Return each call in the product that opens a listening socket, by file."""
    found = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                name = node.func if isinstance(node, ast.Call) else None
                called = name.attr if isinstance(name, ast.Attribute) else getattr(name, "id", "")
                if called in CALLS:
                    found.add((str(path.relative_to(ROOT)), called))
    return found


def test_every_listening_socket_has_a_bound():
    assert listeners() == set(LISTENERS)


@pytest.mark.parametrize("text", sorted({text for text in LISTENERS.values() if "tests/" in text}))
def test_the_named_tests_exist(text):
    assert (ROOT / text[text.index("tests/") :]).exists()
