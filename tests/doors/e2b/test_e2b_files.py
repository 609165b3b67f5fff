"""E2B's SDK: files, folders, watches and signed URLs."""

import io
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
from e2b import FileType, InvalidArgumentException, NotFoundException, SandboxException
from e2b.sandbox.filesystem.watch_handle import FilesystemEventType


@pytest.fixture
def folder(shared, request):
    """A folder of one test, relative to the workspace."""
    path = f"files/{request.node.name.partition('[')[0]}"
    shared.files.make_dir(path)
    yield path
    shared.files.remove(path)


def test_write_and_read(shared, folder):
    written = shared.files.write(f"{folder}/new/deep/a.txt", "text ü")
    assert (written.name, written.type) == ("a.txt", FileType.FILE)
    assert written.path.endswith(f"{folder}/new/deep/a.txt")
    assert shared.files.read(f"{folder}/new/deep/a.txt") == "text ü"
    assert shared.files.read(written.path) == "text ü"
    assert shared.files.read(f"/home/user/{folder}/new/deep/a.txt") == "text ü"
    assert shared.files.read(f"~/{folder}/new/deep/a.txt") == "text ü"
    shared.files.write(f"{folder}/new/deep/a.txt", "")
    assert shared.files.read(f"{folder}/new/deep/a.txt") == ""


@pytest.mark.parametrize("size", [0, 1, 3 << 20])
def test_bytes_and_streams(shared, folder, size):
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    shared.files.write(f"{folder}/b", content)
    assert bytes(shared.files.read(f"{folder}/b", format="bytes")) == content
    assert b"".join(shared.files.read(f"{folder}/b", format="stream")) == content


def test_streamed_and_packed_uploads(shared, folder):
    content = b"0123456789" * 300_000
    shared.files.write(f"{folder}/a", io.BytesIO(content))
    shared.files.write(f"{folder}/b", content, gzip=True)
    shared.files.write(f"{folder}/c", (content[n : n + 70_000] for n in range(0, len(content), 70_000)))
    shared.files.write(f"{folder}/d", content, use_octet_stream=True)
    for name in "abcd":
        assert bytes(shared.files.read(f"{folder}/{name}", format="bytes", gzip=True)) == content


def test_several_files_at_once(shared, folder):
    entries = [{"path": f"{folder}/many/{n}.txt", "data": f"{n}"} for n in range(5)]
    assert [each.name for each in shared.files.write_files(entries)] == [f"{n}.txt" for n in range(5)]
    assert [shared.files.read(each["path"]) for each in entries] == list("01234")
    assert shared.files.write_files([]) == []


def test_what_does_not_exist(shared):
    assert not shared.files.exists("missing")
    for call in (shared.files.read, shared.files.get_info, shared.files.list, shared.files.watch_dir):
        with pytest.raises(NotFoundException):
            call("missing")
    with pytest.raises(NotFoundException):
        shared.files.rename("missing", "other")
    shared.files.remove("missing")


def test_folders_and_files_are_told_apart(shared, folder):
    shared.files.write(f"{folder}/file", "x")
    for call in (shared.files.list, shared.files.watch_dir, shared.files.make_dir):
        with pytest.raises((InvalidArgumentException, SandboxException)):
            call(f"{folder}/file")
    with pytest.raises(InvalidArgumentException):
        shared.files.read(folder)
    with pytest.raises(InvalidArgumentException):
        shared.files.write(folder, "x")


def test_folders(shared, folder):
    assert shared.files.make_dir(f"{folder}/a/b")
    assert not shared.files.make_dir(f"{folder}/a/b")
    shared.files.write(f"{folder}/a/z.txt", "1")
    shared.files.write(f"{folder}/c.txt", "1")
    names = [(each.name, each.type) for each in shared.files.list(folder)]
    assert names == [("a", FileType.DIR), ("c.txt", FileType.FILE)]
    deep = [each.path.partition(f"{folder}/")[2] for each in shared.files.list(folder, depth=2)]
    assert deep == ["a", "a/b", "c.txt", "a/z.txt"]
    with pytest.raises(InvalidArgumentException):
        shared.files.list(folder, depth=0)


def test_facts_of_a_file_a_folder_and_a_link(shared, folder):
    shared.files.write(f"{folder}/f", "test")
    shared.commands.run("chmod 640 f; ln -s f link; ln -s missing broken", cwd=folder)
    info = shared.files.get_info(f"{folder}/f")
    assert (info.name, info.type, info.size, info.mode, info.permissions) == (
        "f",
        FileType.FILE,
        4,
        0o640,
        "-rw-r-----",
    )
    user = shared.commands.run("id -un; id -gn").stdout.split()
    assert [info.owner, info.group] == user
    assert abs(info.modified_time.timestamp() - time.time()) < 600
    assert shared.files.get_info(folder).permissions.startswith("drwx")
    link = shared.files.get_info(f"{folder}/link")
    assert (link.type, link.mode, link.symlink_target) == (FileType.SYMLINK, 0o640, info.path)
    assert shared.files.get_info(f"{folder}/broken").symlink_target.endswith(f"{folder}/missing")


def test_rename_and_remove(shared, folder):
    shared.files.write(f"{folder}/a", "1")
    moved = shared.files.rename(f"{folder}/a", f"{folder}/sub/b")
    assert moved.path.endswith(f"{folder}/sub/b")
    assert not shared.files.exists(f"{folder}/a")
    shared.files.write(f"{folder}/c", "2")
    shared.files.rename(f"{folder}/c", f"{folder}/sub/b")
    assert shared.files.read(f"{folder}/sub/b") == "2"
    shared.files.remove(f"{folder}/sub")
    assert not shared.files.exists(f"{folder}/sub")


@pytest.mark.parametrize("path", ["/etc/passwd", "../../x", "/home/user/../../etc/passwd", "/tmp/../etc/passwd"])
def test_paths_outside_of_the_workspace_are_refused_with_the_reason(shared, path):
    for call in (shared.files.read, shared.files.list, lambda path: shared.files.write(path, "x")):
        with pytest.raises(InvalidArgumentException, match="outside"):
            call(path)


@pytest.mark.parametrize("as_stream", [False, True])
def test_metadata(shared, folder, as_stream):
    given = {"Author": "ada", "purpose-1": "a b"}
    shown = {"author": "ada", "purpose-1": "a b"}
    written = shared.files.write(f"{folder}/m", "x", metadata=given, use_octet_stream=as_stream)
    assert written.metadata == shown
    assert shared.files.get_info(f"{folder}/m").metadata == shown
    assert shared.files.list(folder)[0].metadata == shown
    assert shared.files.rename(f"{folder}/m", f"{folder}/n").metadata == shown
    shared.files.write(f"{folder}/plain", "x")
    assert shared.files.get_info(f"{folder}/plain").metadata is None


def test_the_folder_for_temporary_files(shared):
    written = shared.files.write("/tmp/e2b-door/a.txt", "temporary")
    assert written.path == "/tmp/e2b-door/a.txt"
    assert shared.files.read("/tmp/e2b-door/a.txt") == "temporary"
    assert [each.path for each in shared.files.list("/tmp/e2b-door")] == ["/tmp/e2b-door/a.txt"]
    watch = shared.files.watch_dir("/tmp/e2b-door")
    assert shared.commands.run("pwd; cat a.txt; touch b", cwd="/tmp/e2b-door").stdout == "/tmp/e2b-door\ntemporary"
    wait_for_event(watch, FilesystemEventType.CREATE, "b")
    watch.stop()
    context = shared.create_code_context(cwd="/tmp/e2b-door")
    assert shared.run_code("open('a.txt').read()", context=context).text == "temporary"
    shared.remove_code_context(context)
    shared.files.remove("/tmp/e2b-door")
    assert not shared.files.exists("/tmp/e2b-door")


def test_a_watch(shared, folder):
    shared.files.write(f"{folder}/old", "1")
    watch = shared.files.watch_dir(folder)
    shared.files.write(f"{folder}/old", "2")
    wait_for_event(watch, FilesystemEventType.WRITE, "old")
    shared.files.write(f"{folder}/new", "1")
    wait_for_event(watch, FilesystemEventType.CREATE, "new")
    shared.files.write(f"{folder}/newer", "1")
    wait_for_event(watch, FilesystemEventType.WRITE, "newer")
    shared.files.remove(f"{folder}/old")
    wait_for_event(watch, FilesystemEventType.REMOVE, "old")
    watch.stop()
    with pytest.raises(SandboxException):
        watch.get_new_events()


def test_a_recursive_watch_with_entries(shared, folder):
    watch = shared.files.watch_dir(folder, recursive=True, include_entry=True)
    shared.files.write(f"{folder}/sub/deep/x", "123")
    deadline = time.monotonic() + 10
    events = []
    while not [each for each in events if each.name == "sub/deep/x" and each.entry and each.entry.size == 3]:
        assert time.monotonic() < deadline, events
        events += watch.get_new_events()
        time.sleep(0.1)
    watch.stop()


def wait_for_event(watch, kind, name):
    seen, deadline = [], time.monotonic() + 10
    while (kind, name) not in seen:
        assert time.monotonic() < deadline, seen
        seen += [(each.type, each.name) for each in watch.get_new_events()]
        time.sleep(0.1)


def get(url, data=None, headers=()):
    request = urllib.request.Request(url, data=data, headers=dict(headers))
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_signed_urls(shared, folder):
    url = shared.upload_url(f"{folder}/up.txt")
    body = b'--B\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\nuploaded\r\n--B--\r\n'
    status, _ = get(url, body, {"Content-Type": "multipart/form-data; boundary=B"}.items())
    assert status == 200
    assert shared.files.read(f"{folder}/up.txt") == "uploaded"
    assert get(shared.download_url(f"{folder}/up.txt")) == (200, b"uploaded")
    assert get(shared.download_url(f"{folder}/up.txt", use_signature_expiration=60)) == (200, b"uploaded")


def test_wrong_signatures_are_refused(shared, folder):
    shared.files.write(f"{folder}/a", "secret")
    url = shared.download_url(f"{folder}/a")
    assert get(url.replace("signature=v1_", "signature=v1_x"))[0] == 401
    assert get(url.partition("&signature")[0])[0] == 401
    assert get(url + "&signature_expiration=9999999999")[0] == 401
    assert (
        get(url.replace(urllib.parse.quote(f"{folder}/a", safe=""), "other").replace(f"{folder}/a", "other"))[0] == 401
    )
    status, body = get(shared.download_url(f"{folder}/a", use_signature_expiration=-60))
    assert (status, b"expired" in body) == (401, True)
    # A signature to read does not write.
    assert get(url, b"x")[0] == 401
