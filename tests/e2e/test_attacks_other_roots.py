"""Attacks on the file service in /tmp and the home folder of a real pod, beside those on the workspace (row 8)."""

from collections.abc import Iterator

import pytest

from sandbox_client import SandboxError
from tests.e2e.support.isolations import Hostile
from tests.e2e.support.platform import Platform

LINKS = """
import json, os
names = []
for folder in ("/tmp", "/home/sandbox"):
    for name, target in {"link": "/run/sandbox", "root": "/proc/1/root", "etc": "/etc"}.items():
        os.symlink(target, f"{folder}/attack-{name}")
        names.append(f"{folder}/attack-{name}")
    open(f"{folder}/attack-plain", "w").write("mine")
print(json.dumps(names))
"""


@pytest.fixture
def attacker(hostile: Hostile) -> Iterator[Hostile]:
    """The hostile session without earlier files of this attack."""
    hostile.sandbox.run("rm -rf /tmp/attack-* /home/sandbox/attack-*")
    with hostile.unharmed():
        yield hostile


def refusal(call, *arguments) -> str:
    """The reason of a call's error."""
    try:
        call(*arguments)
    except SandboxError as error:
        return error.reason
    return ""


def test_attack_08_symlinks_in_tmp_and_home_lead_nowhere_else(attacker: Hostile, platform: Platform):
    names = attacker.run(LINKS)
    files = attacker.sandbox.files
    outside = [f"{name}/{below}" for name in names for below in ("runtime.sock", "passwd", "etc/passwd", "planted")]
    for call, *rest in ((files.read,), (files.write, "x"), (files.remove,), (files.stat,)):
        refused = {path: refusal(call, path, *rest) for path in outside}
        assert refused == dict.fromkeys(outside, "PATH_OUTSIDE_WORKSPACE"), call
    assert {name: refusal(files.list, name) for name in names} == dict.fromkeys(names, "PATH_OUTSIDE_WORKSPACE")
    for path in ("/run/sandbox/runtime.sock", "/etc/passwd", "/proc/1/environ", "/dev/shm/x", "/tmp/../etc/passwd"):
        assert refusal(files.read, path) == "PATH_OUTSIDE_WORKSPACE", path
    for folder in ("/tmp", "/home/sandbox"):
        assert files.read_text(f"{folder}/attack-plain") == "mine"
        assert refusal(files.remove, folder) == "INVALID_ARGUMENT"
    attacker.sandbox.workspace.push()
    saved = platform.storage.digests(attacker.sessions.kubectl.namespace, attacker.name)
    assert not [path for path in saved if "attack-" in path]


def test_the_agents_files_are_not_in_the_sandboxs_tmp(attacker: Hostile):
    """Each container of the pod has a /tmp of its own."""
    attacker.sandbox.files.write("/tmp/attack-mine", "1")
    listed = {entry.path for entry in attacker.sandbox.files.list("/tmp", depth=3)}
    assert "/tmp/attack-mine" in listed
    assert not [path for path in listed if "tls" in path or path.endswith(".sock")]
