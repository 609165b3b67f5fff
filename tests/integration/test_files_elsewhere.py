"""Files in /tmp and the home folder, through local sessions for real."""

from __future__ import annotations

import uuid

import pytest

from sandbox_client import AsyncSandbox, InvalidArgument, NotFound, Sandbox

UP = "../" * 12


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox.local() as sandbox:
        yield sandbox


@pytest.fixture(params=["tmp", "home"])
def folder(request, sandbox):
    """A new folder of /tmp or of the home folder, by its absolute path."""
    root = "/tmp" if request.param == "tmp" else sandbox.files.home()
    path = f"{root}/elsewhere-{uuid.uuid4().hex}"
    sandbox.files.make_directory(path)
    yield path
    sandbox.files.remove(path, recursive=True)


def test_code_and_the_file_service_see_the_same_files(sandbox, folder):
    info = sandbox.files.write(f"{folder}/deep/x", "from outside")
    assert (info.path, info.size) == (f"{folder}/deep/x", 12)
    assert sandbox.run_code(f"print(open('{folder}/deep/x').read())").stdout == "from outside\n"
    sandbox.run_code(f"open('{folder}/y', 'w').write('from code')")
    assert sandbox.files.read_text(f"{folder}/y") == "from code"
    assert [entry.path for entry in sandbox.files.list(folder, depth=2)] == [
        f"{folder}/deep",
        f"{folder}/deep/x",
        f"{folder}/y",
    ]
    assert sandbox.files.exists(f"{folder}/y")
    assert sandbox.files.move(f"{folder}/y", f"{folder}/z").path == f"{folder}/z"
    assert [match.path for match in sandbox.files.grep("from", folder).matches] == [f"{folder}/deep/x", f"{folder}/z"]


def test_whole_folders_go_there_and_back(sandbox, folder, tmp_path):
    (tmp_path / "in" / "a").mkdir(parents=True)
    (tmp_path / "in" / "a" / "f").write_text("1")
    assert sandbox.files.upload_tree(tmp_path / "in", folder).files == 1
    assert sandbox.files.download_tree(f"{folder}/../{folder.rsplit('/', 1)[1]}", tmp_path / "out").files == 1
    assert (tmp_path / "out" / "a" / "f").read_text() == "1"


def test_a_folder_of_the_workspace_by_its_absolute_path_is_downloaded_as_it_is(sandbox, tmp_path):
    sandbox.files.write("data/f", "1")
    root = sandbox.run("pwd").stdout.strip()
    sandbox.files.download_tree(f"{root}/data", tmp_path)
    assert (tmp_path / "f").read_text() == "1"


def test_commands_contexts_and_processes_start_there(sandbox, folder):
    assert sandbox.run("pwd", cwd=folder).stdout == f"{folder}\n"
    for language, code in (("python", "import os; print(os.getcwd())"), ("javascript", "console.log(process.cwd())")):
        context = sandbox.contexts.create(language, cwd=folder)
        assert context.cwd == folder
        assert sandbox.run_code(code, context=context).stdout == f"{folder}\n"
        sandbox.contexts.delete(context)
    assert sandbox.processes.start("pwd", cwd=folder).wait().stdout == f"{folder}\n"


def test_a_working_folder_elsewhere_is_refused_with_the_reason(sandbox, folder):
    sandbox.run(["ln", "-s", "/etc", f"{folder}/link"])
    for cwd in ("/etc", f"{folder}/link", f"{folder}/{UP}etc"):
        with pytest.raises(InvalidArgument) as caught:
            sandbox.run("pwd", cwd=cwd)
        assert (caught.value.field, caught.value.reason) == ("cwd", "PATH_OUTSIDE_WORKSPACE")
    with pytest.raises(NotFound) as missing:
        sandbox.run("pwd", cwd=f"{folder}/missing")
    assert missing.value.field == "cwd"


def test_paths_elsewhere_are_refused_with_the_reason(sandbox, folder):
    sandbox.run(["ln", "-s", "/etc/passwd", f"{folder}/link"])
    for path in ("/etc/passwd", f"{folder}/link", f"{folder}/{UP}etc/passwd"):
        with pytest.raises(InvalidArgument, match="give a path") as caught:
            sandbox.files.read(path)
        assert (caught.value.field, caught.value.reason) == ("path", "PATH_OUTSIDE_WORKSPACE")


def test_a_push_saves_none_of_it(tmp_path):
    name = f"/tmp/elsewhere-{uuid.uuid4().hex}"
    with Sandbox.local(store=tmp_path) as sandbox:
        sandbox.files.write("mine", "1")
        sandbox.files.write(name, "1")
        sandbox.files.write(f"{sandbox.files.home()}/theirs", "1")
        sandbox.workspace.push()
        sandbox.files.remove(name)
        assert [entry.path for entry in sandbox.workspace.list()] == ["code-interpreter/mine"]


async def test_the_asynchronous_client_does_the_same():
    async with await AsyncSandbox.local() as sandbox:
        path = f"{await sandbox.files.home()}/f"
        await sandbox.files.write(path, "1")
        assert await sandbox.files.read(path) == b"1"
