"""What user code leaves behind for its agent to trip over: rows 4 and 16. They end the agent, so they come last.

Every row makes sense on every isolation.
"""

import json

import grpc

from tests.e2e.support.calls import LIST_CONTEXTS, call
from tests.e2e.support.forgery import client_certificate
from tests.e2e.support.isolations import Hostile
from tests.e2e.support.kubectl import Kubectl, poll
from tests.e2e.support.platform import Platform
from tests.e2e.support.wire import open_channel

# The hook tells who has run it, in the one folder that both containers write to.
PLANT = """
import errno, json, os, pathlib, stat, sys
HOOK = "import os; open('/run/sandbox/hook-%d-%d' % (os.getuid(), os.getpid()), 'w').close()"
NODE = "require('fs').writeFileSync('/run/sandbox/hook-' + process.getuid() + '-' + process.pid, '')"
SHELL = "#!/bin/bash\\necho > /run/sandbox/hook-$UID-$$\\nexec /usr/bin/$(basename $0) \\"$@\\"\\n"
home, denied = pathlib.Path("/home/sandbox"), {}
version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
user_site = home / ".local/lib" / version / "site-packages"
writable = [pathlib.Path(each) for each in ("/workspace", home, "/tmp", "/run/sandbox", "/dev/shm", user_site)]
def write(path, text, mode=0o644):
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
    except OSError as error:
        denied[str(path)] = errno.errorcode[error.errno]
for folder in writable:
    modules = ["sitecustomize", "usercustomize", "json", "asyncio", "grpc"]
    if folder != user_site:  # There they would keep Python from starting, which is the attacker's own.
        modules += ["sandbox_agent", "sandbox_link", "sandbox_runtime"]
    for module in modules:
        write(folder / f"{module}.py", HOOK)
    write(folder / "planted.pth", HOOK)
    write(folder / "pyvenv.cfg", "home = /tmp")
    write(folder / "package.json", json.dumps({"type": "module", "main": "./hook.js", "imports": {"#fs": "./hook.js"}}))
    write(folder / "node_modules/fs/index.js", NODE)
    write(folder / "hook.js", NODE)
    write(folder / ".env", "NODE_OPTIONS=--require=/workspace/hook.js")
    for name in ("python3", "python", "node", "bash", "sh", "git", "sandbox-agent", "sandbox-runtime"):
        write(folder / name, SHELL, 0o755)
        write(folder / "bin" / name, SHELL, 0o755)
for name in (".bashrc", ".profile", ".bash_profile", ".bash_login", ".zshenv", ".pythonrc"):
    write(home / name, "echo > /run/sandbox/hook-$UID-$$")
write(home / ".npmrc", "node-options=--require=/workspace/hook.js")
write(home / ".config/pip/pip.conf", "[global]\\nindex-url = http://127.0.0.1:1/")
for path in ("/etc/ld.so.preload", "/etc/profile.d/x.sh", "/usr/lib/python3/dist-packages/sitecustomize.py",
             "/usr/local/lib/sandbox/sitecustomize.py", "/usr/local/bin/python3", "/opt/app/sitecustomize.py",
             "/etc/bash.bashrc", "/etc/environment", "/proc/1/environ", "/proc/sys/kernel/core_pattern",
             "/proc/sys/kernel/modprobe"):
    write(pathlib.Path(path), HOOK)
print(json.dumps(denied))
"""
HOOKS = "import json, os; print(json.dumps([name for name in os.listdir('/run/sandbox') if name.startswith('hook')]))"
STOP = "import os, signal; os.kill(1, signal.SIGTERM)"


def restarts(hostile: Hostile, container: str) -> int:
    """How often a container was restarted, counting one that is ready again."""
    statuses = hostile.sessions.pod(hostile.name)["status"]["containerStatuses"]
    return sum(each["restartCount"] for each in statuses if each["name"] == container and each["ready"])


def test_attack_16_planted_files_run_neither_in_the_agent_nor_before_user_code(hostile: Hostile, kubectl: Kubectl):
    """Both containers start anew beside everything that user code could plant."""
    with hostile.unharmed(may_restart=("agent", "sandbox")):
        denied = hostile.run(PLANT)
        assert len([path for path in denied if path.startswith(("/etc", "/usr", "/proc", "/opt"))]) == 11, denied
        assert set(denied.values()) <= {"EROFS", "EACCES", "ENOENT", "EPERM"}, denied
        before = {name: restarts(hostile, name) for name in ("agent", "sandbox")}
        hostile.in_agent("import glob, os; [os.unlink(name) for name in glob.glob('/run/sandbox/hook*')]")
        kubectl.execute(hostile.pod, "sandbox", "/usr/bin/python3", "-I", "-c", STOP)
        hostile.in_agent(f"import os; os.chdir('/'); {STOP}")
        for name, count in before.items():
            poll(f"{name} runs again", lambda name=name, count=count: restarts(hostile, name) > count, timeout=90)
        hooks = json.loads(hostile.in_agent(HOOKS))
        print(hostile.isolation, hooks)  # noqa: T201 - for people
        assert not [hook for hook in hooks if hook.startswith(("hook-10001-", "hook-0-")) or hook.endswith("-1")], hooks
        poll("code runs", lambda: hostile.sandbox.run_code("print(1)").stdout == "1\n", timeout=60)
        assert hostile.sandbox.run("echo done").stdout == "done\n"
        assert hostile.sandbox.run_code("console.log(2)", language="javascript").stdout == "2\n"
        assert not [hook for hook in json.loads(hostile.in_agent(HOOKS)) if hook.startswith("hook-10001-")]


SQUAT = """
import json, os, socket, ssl, time
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("squat.crt", "squat.key")
context.set_alpn_protocols(["h2"])
seen = {"connections": 0, "handshakes": 0, "received": ""}
def report():
    with open("squat.part", "w") as file:
        json.dump(seen, file)
    os.rename("squat.part", "squat.json")
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
open("waiting", "w").close()
while True:
    try:
        listener.bind(("0.0.0.0", 8443))
        break
    except OSError:
        time.sleep(0.002)
listener.listen()
listener.settimeout(0.2)
report()
until = time.monotonic() + 60
while not os.path.exists("enough") and time.monotonic() < until:
    try:
        plain = listener.accept()[0]
    except TimeoutError:
        continue
    seen["connections"] += 1
    plain.settimeout(3)
    try:
        with context.wrap_socket(plain, server_side=True) as encrypted:
            seen["handshakes"] += 1
            seen["received"] += encrypted.recv(1 << 16).decode("latin-1")
    except OSError:
        pass
    report()
"""


def test_attack_04_who_takes_the_agents_port_after_a_crash_gets_no_token_and_the_agent_comes_back(
    own_node: Platform, hostile: Hostile, kubectl: Kubectl
):
    secret = kubectl.secret(f"{hostile.name}-access")
    address = f"{hostile.sessions.pod(hostile.name)['status']['podIP']}:8443"
    key, certificate = client_certificate(secret["serverName"].decode(), None)
    with hostile.unharmed(may_restart=("agent",)):
        files = hostile.sandbox.files
        for name, content in (("squat.key", key), ("squat.crt", certificate), ("squat.py", SQUAT.encode())):
            files.write(name, content)
        hostile.sandbox.processes.start(["python3", "-I", "squat.py"])
        poll("the attacker waits", lambda: files.exists("waiting"), timeout=30)
        hostile.in_agent(STOP)

        def seen() -> dict:
            return json.loads(kubectl.execute(hostile.pod, "sandbox", "sh", "-c", "cat squat.json || echo '{}'"))

        poll("the attacker has the port", seen, timeout=60, pause=0.5)
        with open_channel(address, secret) as channel:
            assert call(channel, LIST_CONTEXTS, secret["token"].decode()) == grpc.StatusCode.UNAVAILABLE
        found = poll("the attacker was called", lambda: seen()["connections"] and seen(), timeout=10)
        assert (found["handshakes"], found["received"]) == (0, ""), found
        kubectl.execute(hostile.pod, "sandbox", "touch", "/workspace/enough")
        poll("code runs", lambda: call_ok(address, secret), timeout=90, pause=0.5)


def call_ok(address: str, secret: dict[str, bytes]) -> bool:
    """Whether the session's agent answers its client."""
    with open_channel(address, secret) as channel:
        return call(channel, LIST_CONTEXTS, secret["token"].decode()) == grpc.StatusCode.OK
