"""What user code finds in its sandbox, and what it may do there."""

import json

from tests.e2e.support.isolations import Hostile

STATUS = """
import json
fields = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
print(json.dumps({name: value.strip() for name, value in fields.items()}))
"""
NO_CAPABILITIES = {f"Cap{name}": "0000000000000000" for name in ("Inh", "Prm", "Eff", "Bnd", "Amb")}


def test_user_code_of_every_kind_has_no_rights_at_all(attacker: Hostile):
    sandbox = attacker.sandbox
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
