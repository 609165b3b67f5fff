"""Processes that ignore every signal they can end with their session, on every isolation."""

import secrets
from pathlib import Path

import pytest

from tests.e2e.support.isolations import ISOLATIONS, open_hostile
from tests.e2e.support.kubectl import Kubectl, poll
from tests.e2e.support.platform import Platform
from tests.e2e.support.sessions import SESSION

# In a cell, in a command, in groups and sessions of their own, and without a parent.
STUBBORN = """
import os, signal, subprocess, sys, time
def stay():
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)
    while True:
        time.sleep(0.2)
for kind in range(4):
    if os.fork() == 0:
        if kind & 1:
            os.setsid()
        if kind & 2 and os.fork():
            os._exit(0)
        stay()
print("stays", flush=True)
stay()
"""


@pytest.mark.parametrize("verb", ["delete", "suspend"])
@pytest.mark.parametrize("isolation", ISOLATIONS)
def test_attack_of_deaf_processes_no_end_of_a_session_waits_for_them(
    platform: Platform, kubectl: Kubectl, operator_is_up: None, isolation: str, verb: str
):
    mark = f"deaf-{secrets.token_hex(8)}"
    with open_hostile(platform, kubectl, isolation) as attacker:
        sandbox, sessions, name, pod = attacker.sandbox, attacker.sessions, attacker.name, attacker.pod
        sandbox.files.write("stubborn.py", STUBBORN)
        command = ["python3", "stubborn.py", mark]
        assert sandbox.run_code(f"import subprocess\nkept = subprocess.Popen({command})").ok
        sandbox.processes.start(command)
        poll("all ten run", lambda: int(sandbox.run(f"pgrep -fc '[s]tubborn.py {mark}'").stdout) >= 10, timeout=30)
        containers = [
            each["containerID"].removeprefix("containerd://")
            for each in kubectl.get("pod", pod)["status"]["containerStatuses"]
        ]
        if verb == "delete":
            kubectl.delete(SESSION, name)
        else:
            sessions.suspend(name)
        poll("the pod is gone", lambda: not kubectl.get("pod", pod), timeout=60)
        if platform.is_own:
            poll("none of their processes is left", lambda: not processes(mark, *containers), timeout=10)


def processes(*words: str) -> list[str]:
    """Processes of this machine with one of these words in their command line. Under gVisor that is gVisor itself."""
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = line.read_text()
        except OSError:
            continue
        if any(word in text for word in words):
            found.append(text)
    return found
