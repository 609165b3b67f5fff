"""Attacks of user code with files: rows 8 to 15. Every row makes sense on every isolation.

The runtime, which opens the files, has the attacker's own rights. So a success would give nothing new; what
counts is that no call reaches outside the workspace, that none hangs, and that the agent and the other files are well.
"""

import hashlib
import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sandbox_client import DataCorrupted, SandboxError
from tests.e2e.support.isolations import Hostile
from tests.e2e.support.kubectl import poll
from tests.e2e.support.platform import Platform

OUTSIDE = "/home/sandbox/outside"


@contextmanager
def running(attacker: Hostile, program: str) -> Iterator[None]:
    """Run a program in the background. It ends when a file `enough` exists, and is expected to have made `begun`."""
    files = attacker.sandbox.files
    for name in ("enough", "begun"):
        if files.exists(name):
            files.remove(name)
    files.write("background.py", program)
    process = attacker.sandbox.processes.start(["python3", "background.py"])
    try:
        poll("the program has begun", lambda: files.exists("begun"), timeout=30)
        yield
    finally:
        files.write("enough", "")
        done = process.wait(timeout=30)
        assert done.ok, done


@pytest.fixture
def attacker(hostile: Hostile) -> Iterator[Hostile]:
    """The hostile session with an empty workspace."""
    hostile.sandbox.run("chmod -R u+rwx . ; rm -rf -- * .[!.]*")
    with hostile.unharmed():
        yield hostile


@pytest.fixture
def stored(attacker: Hostile, platform: Platform) -> "Stored":
    """Return the stored files of the session's workspace."""
    return Stored(platform, attacker)


class Stored:
    """Saved files of a session."""

    def __init__(self, platform: Platform, attacker: Hostile) -> None:
        self.storage, self.namespace, self.name = platform.storage, attacker.sessions.kubectl.namespace, attacker.name

    def digests(self) -> dict[str, str]:
        """SHA-256 of each saved file by its path."""
        return self.storage.digests(self.namespace, self.name)

    def read(self, path: str) -> bytes:
        """The content of a saved file."""
        key = self.storage.key(self.namespace, self.name, path)
        return self.storage.client().get_object(Bucket=self.storage.bucket, Key=key)["Body"].read()


def digest(content: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(content).hexdigest()


LINKS = """
import json, os
os.makedirs("/home/sandbox/outside", exist_ok=True)
open("/home/sandbox/outside/f", "w").write("outside")
links = {"passwd": "/etc/passwd", "environ": "/proc/self/environ", "memory": "/proc/1/mem", "up": "../../../etc/passwd",
         "twice": "passwd", "link": "/run/sandbox/runtime.sock"}
folders = {"etc": "/etc", "root": "/proc/1/root", "self": "/proc/self", "home": "/home/sandbox/outside"}
for name, target in (links | folders).items():
    os.symlink(target, name)
open("plain.txt", "w").write("plain")
print(json.dumps([list(links), list(folders)]))
"""


def refusal(call, *arguments) -> str:
    """The reason of a call's error."""
    try:
        call(*arguments)
    except SandboxError as error:
        return error.reason
    return ""


def test_attack_08_symlinks_lead_nowhere_outside_the_workspace(attacker: Hostile, stored: Stored):
    links, folders = attacker.run(LINKS)
    files = attacker.sandbox.files
    below = [f"{folder}/{name}" for folder, name in zip(folders, ("passwd", "etc/passwd", "environ", "f"), strict=True)]
    refused = {path: refusal(files.read, path) for path in (*links, *below)}
    assert refused == dict.fromkeys(refused, "PATH_OUTSIDE_WORKSPACE")
    refused = {folder: refusal(files.list, folder) for folder in folders}
    assert refused == dict.fromkeys(refused, "PATH_OUTSIDE_WORKSPACE")
    assert refusal(files.write, "home/planted", "x") == "PATH_OUTSIDE_WORKSPACE"
    assert refusal(files.remove, "home/f") == "PATH_OUTSIDE_WORKSPACE"
    assert attacker.sandbox.run(["ls", OUTSIDE]).stdout == "f\n"
    # What looks into every file looks into no link.
    assert {match.path for match in files.grep("root:|outside|PATH=").matches} == {"attack.py"}
    assert {entry.type for entry in files.list() if entry.path in {*links, *folders}} == {"symlink"}
    assert attacker.sandbox.workspace.push().failed == ()
    assert set(stored.digests()) == {"attack.py", "plain.txt"}


SWAP = """
import os, shutil
os.makedirs("/home/sandbox/outside", exist_ok=True)
open("/home/sandbox/outside/f", "w").write("outside")
os.mkdir("inner")
open("inner/f", "w").write("inside")
os.symlink("/home/sandbox/outside", "link")
def move(source, target):
    while True:
        try:
            return os.rename(source, target)
        except OSError:  # A write has made the folder meanwhile.
            shutil.rmtree(target, ignore_errors=True)
open("begun", "w").close()
while not os.path.exists("enough"):
    for _ in range(50):
        move("inner", "aside")
        move("link", "inner")
        move("inner", "link")
        move("aside", "inner")
"""


def test_attack_09_a_parent_that_is_swapped_for_a_symlink_meanwhile_leads_nowhere(attacker: Hostile):
    files, contents, reasons = attacker.sandbox.files, set(), set()
    with running(attacker, SWAP):
        for number in range(120):
            try:
                contents.add(files.read("inner/f"))
                files.write(f"inner/written-{number}", "x")
                files.remove(f"inner/written-{number}")
            except SandboxError as error:
                reasons.add(error.reason)
    assert b"outside" not in contents
    assert contents <= {b"inside"}
    assert attacker.sandbox.run(["ls", OUTSIDE]).stdout == "f\n"
    assert reasons <= {"FILE_NOT_FOUND", "PATH_OUTSIDE_WORKSPACE", "NOT_A_DIRECTORY"}, reasons


RENAME = """
import itertools, os
os.mkdir("many")
for number in range(60):
    open(f"many/{number}-0", "w").write(str(number))
open("begun", "w").close()
for turn in itertools.count(1):
    for number in range(60):
        os.rename(f"many/{number}-{turn - 1}", f"many/{number}-{turn}")
    if os.path.exists("enough"):
        break
for number in range(60):
    os.rename(f"many/{number}-{turn}", f"many/{number}")
"""


def test_attack_10_renames_during_a_listing_or_a_push_harm_neither(attacker: Hostile, stored: Stored):
    attacker.sandbox.files.write("plain.txt", "plain")
    with running(attacker, RENAME):
        for _ in range(4):
            listed = attacker.sandbox.files.list("many")
            assert all(entry.path.startswith("many/") for entry in listed)
            report = attacker.sandbox.workspace.push()
            assert all(failure.path.startswith("many/") for failure in report.failed), report
            assert stored.digests()["plain.txt"] == digest(b"plain")
    assert attacker.sandbox.workspace.push().failed == ()
    found = {path: value for path, value in stored.digests().items() if path.startswith("many/")}
    assert found == {f"many/{number}": digest(str(number).encode()) for number in range(60)}


HARD = """
import errno, json, os
errors = {}
for target in ("/etc/passwd", "/proc/self/environ", "/run/sandbox/runtime.sock", "/usr/bin/env", "/tmp/mine"):
    try:
        os.link(target, "hard")
        errors[target] = "done"
        os.unlink("hard")
    except OSError as error:
        errors[target] = errno.errorcode[error.errno]
open("one", "w").write("linked")
os.link("one", "two")
print(json.dumps(errors))
"""


def test_attack_11_hard_links_reach_no_file_outside_and_are_saved_as_files(attacker: Hostile, stored: Stored):
    attacker.sandbox.run("touch /tmp/mine")
    errors = attacker.run(HARD)
    assert set(errors.values()) <= {"EXDEV", "EPERM", "ENOENT", "EOPNOTSUPP"}, errors
    attacker.sandbox.files.write("two", "written")
    assert attacker.sandbox.workspace.push().failed == ()
    saved = stored.digests()
    assert saved["two"] == digest(b"written")
    assert saved["one"] == digest(attacker.sandbox.files.read("one"))


SPECIAL = """
import errno, json, os, shutil, socket, stat, subprocess
errors = {}
for name, mode, device in (("char", stat.S_IFCHR, os.makedev(1, 1)), ("block", stat.S_IFBLK, os.makedev(254, 0))):
    for folder in (".", "/tmp", "/home/sandbox", "/dev/shm", "/run/sandbox"):
        try:
            os.mknod(f"{folder}/{name}", mode | 0o666, device)
            errors[f"{folder}/{name}"] = "done"
        except OSError as error:
            errors[f"{folder}/{name}"] = errno.errorcode[error.errno]
os.mkfifo("fifo")
socket.socket(socket.AF_UNIX).bind("socket")
shutil.copy("/usr/bin/id", "strong")
os.chmod("strong", 0o6755)
open("plain.txt", "w").write("plain")
identity = subprocess.run(["./strong", "-u"], capture_output=True, text=True).stdout.strip()
print(json.dumps([errors, identity == str(os.getuid()), os.stat("strong").st_mode & 0o6000]))
"""


def test_attack_12_fifos_sockets_devices_and_set_id_bits(attacker: Hostile, stored: Stored):
    """No device can be made; what is no file is neither read nor saved, and holds nothing up; the bits are not kept."""
    errors, is_same_user, _ = attacker.run(SPECIAL)
    assert set(errors.values()) <= {"EPERM", "EACCES"}, errors
    assert is_same_user
    files = attacker.sandbox.files
    assert [refusal(files.read, name) for name in ("fifo", "socket")] == ["NOT_A_FILE"] * 2
    report = attacker.sandbox.workspace.push()
    assert report.failed == ()
    assert set(stored.digests()) == {"attack.py", "plain.txt", "strong"}
    files.remove("strong")
    attacker.sandbox.workspace.restore()
    assert files.stat("strong").mode & 0o7000 == 0


NAMES = """
import json, os
names = [b"new\\nline", b"\\x1b[31mred\\x1b[0m", b"\\xff\\xfe", b"x" * 255, b" ", b"-rf", b"\\xe2\\x80\\xaetxt",
         b"a\\tb", b"\\x01", b"%2e%2e", b"..."]
for name in names:
    with open(name, "wb") as file:
        file.write(name)
open("plain.txt", "w").write("plain")
top = os.getcwd()
for level in range(4096):
    os.mkdir("d")
    os.chdir("d")
open("deepest", "w").write("x")
os.chdir(top)
print(json.dumps(len(names)))
"""


def test_attack_13_odd_names_and_deep_folders_fail_alone_and_by_name(attacker: Hostile, stored: Stored):
    count = attacker.run(NAMES, timeout=120)
    listed = attacker.sandbox.files.list(depth=3)
    assert len([entry for entry in listed if entry.type == "file"]) == count + 2
    assert {"\x1b[31mred\x1b[0m", "new\nline"} <= {entry.path for entry in listed}
    report = attacker.sandbox.workspace.push()
    saved = stored.digests()
    assert saved["plain.txt"] == digest(b"plain")
    # What has no key in storage is named, the rest is saved.
    assert len(saved) + len([failure for failure in report.failed if "/" not in failure.path]) == count + 2, report
    assert all(failure.reason for failure in report.failed)
    assert any(failure.path.startswith("d/d/d") for failure in report.failed), report
    attacker.sandbox.run("rm -rf d", timeout=120)


MUTATE = """
import os
pieces, piece = 96, 1 << 16
file = os.open("mutating.bin", os.O_RDWR | os.O_CREAT)
os.pwrite(file, bytes(pieces * piece), 0)
open("begun", "w").close()
number = 0
while not os.path.exists("enough"):
    number = (number + 1) % 256
    for index in range(pieces):
        os.pwrite(file, bytes([number]) * piece, index * piece)
os.pwrite(file, b"x" * pieces * piece, 0)
"""


def test_attack_14_a_file_that_changes_during_its_upload_fails_alone_or_is_saved_as_it_was_at_once(
    attacker: Hostile, stored: Stored
):
    attacker.sandbox.files.write("plain.txt", "plain")
    with running(attacker, MUTATE):
        for _ in range(3):
            report = attacker.sandbox.workspace.push()
            assert {failure.path for failure in report.failed} <= {"mutating.bin"}, report
            saved = stored.digests()
            assert saved["plain.txt"] == digest(b"plain")
            if "mutating.bin" in saved:
                # It is written from its beginning: at every moment it is of one number, or of one after the other.
                numbers = [number for number, _ in itertools.groupby(stored.read("mutating.bin"))]
                assert len(numbers) == 1 or numbers == [numbers[0], (numbers[0] - 1) % 256], numbers
    assert attacker.sandbox.workspace.push().failed == ()
    assert stored.digests()["mutating.bin"] == digest(b"x" * (6 << 20))


@pytest.mark.parametrize(
    "path", ["../../../home/sandbox/outside/planted", "/home/sandbox/outside/planted", "link/planted"], ids=str
)
def test_attack_15_a_poisoned_manifest_restores_nothing_outside_the_workspace(
    attacker: Hostile, stored: Stored, path: str
):
    storage, files = stored.storage, attacker.sandbox.files
    attacker.sandbox.run(f"mkdir -p {OUTSIDE} && rm -f {OUTSIDE}/* && ln -s {OUTSIDE} link")
    files.write("plain.txt", "plain")
    attacker.sandbox.workspace.push()
    client = storage.client()
    workspace = f"{storage.prefix}/{stored.namespace}/{stored.name}/.workspace/"

    def read(name: str) -> dict:
        return json.loads(client.get_object(Bucket=storage.bucket, Key=workspace + name)["Body"].read())

    def write(name: str, content: dict) -> None:
        client.put_object(Bucket=storage.bucket, Key=workspace + name, Body=json.dumps(content).encode())

    head = read("HEAD")
    manifest = read(head["manifest"])
    entries = [*head.get("changes", {}).get("files", []), *manifest["files"]]
    poisoned = {**next(entry for entry in entries if entry["path"] == "plain.txt"), "path": path}
    # A foreign writer's snapshot: one generation on, and with the file under a path outside.
    write(head["manifest"], {**manifest, "files": [*manifest["files"], poisoned]})
    write("HEAD", {**head, "generation": head["generation"] + 1})
    try:
        with pytest.raises(DataCorrupted):
            attacker.sandbox.workspace.restore()
        assert attacker.sandbox.run(["ls", "-A", OUTSIDE]).stdout == ""
        assert not attacker.sandbox.run("ls -d /home/sandbox/planted /workspace/home /planted 2>/dev/null").stdout
    finally:
        write(head["manifest"], manifest)
        write("HEAD", {**head, "generation": head["generation"] + 2})
    attacker.sandbox.workspace.restore()
    assert attacker.sandbox.workspace.push().failed == ()
