"""What user code finds in its sandbox, and what it may do there."""

import json
import secrets
from pathlib import Path

from tests.e2e.support import scan
from tests.e2e.support.kubectl import Kubectl
from tests.e2e.support.platform import Platform
from tests.e2e.support.sessions import Sessions
from tests.e2e.support.stolen import search_agent

STATUS = """
import json
fields = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
print(json.dumps({name: value.strip() for name, value in fields.items()}))
"""
NO_CAPABILITIES = {f"Cap{name}": "0000000000000000" for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")}


def test_no_credential_is_to_be_found_inside_a_sandbox(platform: Platform, kubectl: Kubectl, sessions: Sessions):
    # Words that are there, to see that the search finds what there is to find.
    in_file, in_memory, in_environment = (f"planted-{secrets.token_hex(16)}" for _ in range(3))
    name = sessions.ready(env=[{"name": "PLANTED", "value": in_environment}])
    access, pod = kubectl.secret(f"{name}-access"), sessions.pod(name)["metadata"]["name"]
    key = kubectl.secret(f"{pod}-tls")["tls.key"].splitlines()
    canaries = {
        "storage key": platform.storage.secret_key.encode(),
        "access token": access["token"],
        "TLS key": max(key[1:-1], key=len),
        "service account": b"system:serviceaccount",
    }
    if platform.is_own:
        # What its agent signs with, which the operator's own keys are not.
        (canaries["session token"], *_) = search_agent(pod, {}).tokens
    planted = {"in a file": in_file, "in memory": in_memory, "in an environment": in_environment}
    words = {**canaries, **{name: word.encode() for name, word in planted.items()}}
    with sessions.connect(name) as sandbox:
        assert sandbox.workspace.push().failed == ()
        sandbox.files.write("planted.txt", in_file)
        assert sandbox.run_code(f"kept = {in_memory!r}").ok
        sandbox.files.write("scan.py", Path(scan.__file__).read_bytes())
        done = sandbox.run(
            ["python3", "scan.py", *(f"{name}={word.hex()}" for name, word in words.items())], timeout=240
        )
        assert done.ok, done
        found = json.loads(done.stdout)
        processes = json.loads(sandbox.run_code(LIST_PROCESSES).stdout)
        absent = ["/etc/sandbox/tls", "/var/run/secrets/kubernetes.io", "/run/secrets/kubernetes.io"]
        assert sandbox.run(["ls", *absent]).stdout == ""
        environment = sandbox.run("env").stdout
    assert {name: found["hits"][name] for name in canaries} == {name: [] for name in canaries}
    assert "/workspace/planted.txt" in found["hits"]["in a file"]
    assert any(place.endswith("/mem") for place in found["hits"]["in memory"]), found
    assert any(place.endswith("/environ") for place in found["hits"]["in an environment"]), found
    assert found["read"]["files"] > 1000, found["read"]
    assert found["read"]["memories"] >= 3, found["read"]
    # Of the agent's processes there is nothing to be seen, and of nobody else's.
    assert {process["uid"] for process in processes} == {sandbox_uid(sessions.pod(name))}
    assert not [process for process in processes if "serve" in process["command"].split()]
    assert not [line for line in environment.splitlines() if line.startswith(("KUBERNETES_", "AWS_"))]


LIST_PROCESSES = """
import json, os, pathlib
found = []
for folder in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        command = (folder / "cmdline").read_bytes().replace(b"\\0", b" ").decode("utf-8", "replace")
        found.append({"uid": folder.stat().st_uid, "command": command})
    except OSError:
        pass
print(json.dumps(found))
"""


def sandbox_uid(pod: dict) -> int:
    """The user id that a pod's sandbox runs as."""
    containers = {container["name"]: container for container in pod["spec"]["containers"]}
    return containers["sandbox"]["securityContext"]["runAsUser"]


def test_user_code_of_every_kind_has_no_rights_at_all(sessions: Sessions):
    name = sessions.ready()
    with sessions.connect(name) as sandbox:
        sandbox.files.write("status.py", STATUS)
        read = "console.log(require('fs').readFileSync('/proc/self/status', 'utf8'))"
        script = sandbox.run_code(read, language="javascript").stdout
        node = {key: value.strip() for key, _, value in (line.partition(":\t") for line in script.splitlines())}
        texts = [sandbox.run_code(STATUS).stdout, sandbox.run("python3 status.py").stdout, json.dumps(node)]
        for status in map(json.loads, texts):
            assert {field: status[field] for field in NO_CAPABILITIES} == NO_CAPABILITIES
            assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
            assert "0" not in status["Uid"].split() + status["Gid"].split() + status["Groups"].split()
        mounts = [line.split() for line in sandbox.run("cat /proc/self/mounts").stdout.splitlines()]
        root = next(mount for mount in mounts if mount[1] == "/")
        assert "ro" in root[3].split(",")
        for path in ("/", "/etc", "/usr/bin", "/usr/local/lib", "/usr/local/lib/sandbox", "/var/tmp", "/opt", "/root"):
            assert not sandbox.run(["touch", f"{path}/planted"]).ok, path
        for path in ("/workspace", "/home/sandbox", "/tmp", "/dev/shm"):
            assert sandbox.run(["touch", f"{path}/written"]).ok, path
        for command in ("mount -t tmpfs none /tmp", "unshare -Ur true", "chown 0 /workspace", "mknod /tmp/null c 1 3"):
            assert not sandbox.run(command).ok, command
