"""Attacks of user code on its own agent, from inside a pod."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.e2e.support.sessions import Sessions

FLOOD = """
import resource, socket
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 12000), hard))
kept, refused = [], 0
for number in range(9000):
    try:
        kept.append(socket.create_connection(("127.0.0.1", 8443 + number % 2), timeout=2))
    except OSError:
        refused += 1
print(len(kept) + refused)
"""


def agent_container(pod):
    return next(each for each in pod["status"]["containerStatuses"] if each["name"] == "agent")


def test_attack_32_idle_connections_of_user_code_do_not_end_its_agent(sessions: Sessions):
    """After 9,000 connections without a token, the agent is the same process and answers."""
    name = sessions.ready()
    before = agent_container(sessions.pod(name))
    with sessions.connect(name) as sandbox:
        assert sandbox.run_code(FLOOD, timeout=240).stdout.strip() == "9000"
        assert sandbox.run_code("print(1)").stdout == "1\n"
    with sessions.connect(name) as sandbox:
        assert sandbox.run_code("print(2)").stdout == "2\n"
    after = agent_container(sessions.pod(name))
    assert (after["restartCount"], after["containerID"]) == (before["restartCount"], before["containerID"])
