"""The seven tools for real: a test or more for each row of docs/requirements.md.

Here they run against a local session; `tests/e2e/test_requirements_in_a_pod.py` runs the same ones against a pod.
"""

import asyncio
import base64
import hashlib
import inspect
import json
import os
import signal
import sys
from pathlib import Path

import pytest
from mcp import Client, StdioServerParameters

from sandbox_client import AsyncSandbox, Endpoint
from sandbox_client.tools import TOOL_SPECS, BlockingSandboxTools, SandboxTools, local_sessions
from sandbox_testing.fake_agent import make_certificates

PLOT = "import matplotlib\nmatplotlib.use('Agg')\nimport matplotlib.pyplot as plt\nplt.plot([1, 3, 2])\n"
PICTURES = {
    "png": base64.b64decode(
        "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    ),
    "jpeg": base64.b64decode(
        "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAP//////////////////////////////////////////////////////////////////////////////"
        "////////wAALCAABAAEBAREA/8QAHwAAAQUBAQEBAQEAAAAAAAAAAAECAwQFBgcICQoL/8QAtRAAAgEDAwIEAwUFBAQAAAF9AQIDAAQRBRIhMUEG"
        "E1FhByJxFDKBkaEII0KxwRVS0fAkM2JyggkKFhcYGRolJicoKSo0NTY3ODk6Q0RFRkdISUpTVFVWV1hZWmNkZWZnaGlqc3R1dnd4eXqDhIWGh4iJ"
        "ipKTlJWWl5iZmqKjpKWmp6ipqrKztLW2t7i5usLDxMXGx8jJytLT1NXW19jZ2uHi4+Tl5ufo6erx8vP09fb3+Pn6/9oACAEBAAA/AI6//9k="
    ),
    "gif": base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"),
    "webp": base64.b64decode("UklGRiQAAABXRUJQVlA4IBgAAAAwAQCdASoBAAEADMDOJaQAA3AA/uxnAAA="),
}
AWKWARD = "quotes ' \" ''' \\ \\n \ttabs\r\n $HOME `id` ${x} Grüße 世界 🎉 \u2028 \u0085\n\n"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def tools(store):
    # The contract's own limits are tested here. Those for models are in test_tool_limits.py.
    with BlockingSandboxTools(local_sessions(store), max_text=None) as tools:
        yield tools


@pytest.fixture(scope="module")
def other_tools():
    """Those of another session."""
    with BlockingSandboxTools(local_sessions()) as tools:
        yield tools


@pytest.fixture(scope="module")
def stored(store):
    """Reads a file of the tools' workspace as object storage has it."""
    return lambda path: (store / "local/default" / path).read_bytes()


@pytest.fixture(scope="module")
def plant(store):
    """Puts a file into another session's workspace, and gives that workspace's name."""

    def put(path, content):
        place = store / "local/another" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        return "another"

    return put


def run(tools, code, language="python"):
    result = tools.execute_code(code, language)
    assert not result.is_error, result.text
    return result.value


def read(tools, path):
    return tools.file_operations("read", [path]).value["files"][0]


def test_r1_the_tools_have_the_names_parameters_and_defaults_of_the_page(tools):
    required = inspect.Parameter.empty
    wanted = {
        "execute_code": {"code": required, "language": "python", "output_filename": ""},
        "execute_command": {"command": required},
        "file_operations": {"operation": required, "paths": None, "content": None},
        "ci_push_to_workspace": {"paths": None},
        "workspace_read": {"path": required},
        "workspace_list": {"path": ""},
        "workspace_write": {"path": required, "content": required, "encoding": "text"},
    }
    for class_ in (SandboxTools, BlockingSandboxTools):
        found = {
            name: {
                key: parameter.default
                for key, parameter in inspect.signature(getattr(class_, name)).parameters.items()
                if key != "self"
            }
            for name in wanted
        }
        assert found == wanted
    described = {
        spec.name: {
            key: required if key in spec.schema["required"] else value["default"]
            for key, value in spec.schema["properties"].items()
        }
        for spec in TOOL_SPECS
    }
    assert described == wanted


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("python", "print(sum(range(4)))"),
        ("javascript", "console.log([1, 2, 3].reduce((a, b) => a + b))"),
        ("typescript", "const xs: number[] = [1, 2, 3]; console.log(xs.length * 2)"),
    ],
)
def test_r2_three_languages_run(tools, language, code):
    assert run(tools, code, language) == "6\n"


def test_r2_another_language_is_refused_naming_the_three(tools):
    result = tools.execute_code("puts 1", "ruby")
    assert result.is_error
    assert all(name in result.value["error"] for name in ("ruby", "python", "javascript", "typescript"))


@pytest.mark.parametrize(
    ("language", "define", "fail", "use"),
    [
        (
            "python",
            "import math\nn = 2\ndef double(x): return 2 * x\nclass Box:\n    value = 3",
            "n = 3\nraise ValueError('no')",
            "print(n, double(4), Box().value, math.floor(1.5))",
        ),
        (
            "javascript",
            "const fs = require('node:os'); let n = 2; function double(x) { return 2 * x }; class Box { value = 3 }",
            "n = 3; throw new Error('no')",
            "console.log(n, double(4), new Box().value, typeof fs.cpus === 'function' ? 1 : 0)",
        ),
        (
            "typescript",
            "import { join } from 'node:path'; let m: number = 2; const twice = (x: number) => 2 * x; class C {v = 3}",
            "m = 3; throw new Error('no')",
            "console.log(m, twice(4), new C().v, join('1', '..', '1'))",
        ),
    ],
)
def test_r3_variables_imports_functions_and_classes_persist_and_survive_an_exception(
    tools, language, define, fail, use
):
    run(tools, define, language)
    assert tools.execute_code(fail, language).is_error
    assert run(tools, use, language) == "3 8 3 1\n"


def test_r4_sessions_share_no_memory_no_files_and_no_workspace(tools, other_tools):
    run(tools, "secret = 1")
    tools.file_operations("write", content=[{"path": "secret.txt", "text": "s"}])
    tools.ci_push_to_workspace(["secret.txt"])
    assert run(other_tools, "'secret' in globals()") == "False"
    assert other_tools.file_operations("list").value == []
    assert other_tools.workspace_list().value["files"] == []
    assert other_tools.workspace_read("code-interpreter/secret.txt").is_error


def test_r5_stdout_is_returned_a_silent_cell_says_so_and_stderr_is_not_lost(tools):
    assert run(tools, "print('a'); print('b')") == "a\nb\n"
    assert run(tools, "quiet = 1") == "(no output)"
    assert run(tools, "import sys; print('out'); print('err', file=sys.stderr)") == "out\n[stderr]\nerr\n"
    assert tools.execute_command("echo out; echo err >&2").value == "out\n[stderr]\nerr\n"
    failed = tools.execute_code("import sys; print('out'); print('err', file=sys.stderr); 1 / 0")
    assert (failed.value["stdout"], failed.value["stderr"]) == ("out\n", "err\n")


def test_r6_a_failure_is_a_structured_error_and_the_session_stays_usable(tools):
    long = "1 / 0\n" + "# padding\n" * 100
    result = tools.execute_code(long).value
    assert result["status"] == "error"
    assert result["error"] == "ZeroDivisionError: division by zero"
    assert result["code_snippet"].startswith("1 / 0\n")
    assert len(result["code_snippet"]) <= 300
    assert "1 / 0" in result["traceback"]
    failed = tools.execute_command("echo out; echo err >&2; exit 3").value
    assert (failed["exit_code"], failed["stdout"], failed["stderr"], failed["status"]) == (3, "out\n", "err\n", "error")
    assert run(tools, "print('usable')") == "usable\n"


def test_r6_an_interpreter_that_dies_is_told_with_what_was_lost_and_runs_again(tools):
    died = tools.execute_code("import os; os._exit(3)")
    assert died.is_error
    assert "lost" in died.value["variables"]
    assert run(tools, "print('again')") == "again\n"


@pytest.mark.parametrize("content", [AWKWARD.encode(), bytes(range(256)) * 40, b""], ids=["text", "binary", "empty"])
def test_r7_output_filename_is_saved_byte_for_byte(tools, stored, content):
    code = f"open('out.data', 'wb').write({content!r}); print('done')"
    result = tools.execute_code(code, output_filename="out.data")
    size = f"{len(content) / 1024:.1f} KB"
    assert result.value.startswith("done\n")
    assert f"Saved out.data ({size})" in result.value
    assert stored("code-interpreter/out.data") == content


def test_r7_a_missing_output_file_is_a_partial_result_with_the_output(tools):
    result = tools.execute_code("print('done')", output_filename="none.png").value
    assert (result["status"], result["stdout"]) == ("partial", "done\n")
    assert "none.png" in result["warning"]


@pytest.mark.parametrize("kind", PICTURES)
@pytest.mark.parametrize("suffix", ["", ".dat"])
def test_r8_a_picture_comes_back_as_one_by_its_content(tools, kind, suffix):
    name = f"picture{suffix or '.' + kind}"
    result = tools.execute_code(f"open({name!r}, 'wb').write({PICTURES[kind]!r}); None", output_filename=name)
    assert [(image.format, image.data) for image in result.images] == [(kind, PICTURES[kind])]


def test_r8_a_chart_is_seen_saved_or_shown_and_a_text_named_png_is_no_picture(tools):
    saved = tools.execute_code(PLOT + "plt.savefig('chart.png'); plt.close()", output_filename="chart.png")
    assert [image.data[:8] for image in saved.images] == [b"\x89PNG\r\n\x1a\n"]
    fake = tools.execute_code("open('fake.png', 'w').write('text'); None", output_filename="fake.png")
    assert fake.images == ()


def test_r9_typescript_has_types_enums_top_level_await_and_imports(tools):
    code = (
        "import { basename } from 'node:path'\n"
        "enum Color { Red = 1, Green }\n"
        "interface Point { x: number; y?: number }\n"
        "const point: Point = { x: await Promise.resolve(4) }\n"
        "const first = <T,>(list: T[]): T => list[0]!\n"
        "console.log(Color.Green, Color[1], point.x, first(['a']), basename('/a/b'))"
    )
    assert run(tools, code, "typescript") == "2 Red 4 a b\n"
    assert run(tools, "console.log(Color.Red, point.x)", "typescript") == "1 4\n"


def test_r10_the_shell_has_pipes_and_conditions_and_redirection(tools):
    command = "printf 'b\\na\\n' > lines && sort < lines | head -1 >> sorted && cat sorted && false || echo else"
    assert tools.execute_command(command).value == "a\nelse\n"


def test_r10_what_pip_installs_is_visible_to_the_next_cell(tools):
    build = (
        "import zipfile\n"
        "with zipfile.ZipFile('handmade-1.0-py3-none-any.whl', 'w') as wheel:\n"
        "    wheel.writestr('handmade.py', 'ANSWER = 42')\n"
        "    about = 'handmade-1.0.dist-info/'\n"
        "    wheel.writestr(about + 'METADATA', 'Metadata-Version: 2.1\\nName: handmade\\nVersion: 1.0')\n"
        "    wheel.writestr(about + 'WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any')\n"
        "    wheel.writestr(about + 'RECORD', '')\n"
    )
    assert tools.execute_code("import handmade").is_error
    run(tools, build)
    installed = tools.execute_command(
        "pip install --no-index --disable-pip-version-check ./handmade-1.0-py3-none-any.whl"
    )
    assert not installed.is_error, installed.text
    assert run(tools, "import handmade\nprint(handmade.ANSWER)") == "42\n"


def test_r11_code_commands_and_files_share_one_folder(tools):
    run(tools, "open('one.txt', 'w').write('python'); None")
    run(tools, "require('node:fs').writeFileSync('two.txt', 'node')", "javascript")
    tools.file_operations("write", content=[{"path": "three.txt", "text": "files"}])
    assert tools.execute_command("cat one.txt two.txt three.txt").value == "pythonnodefiles"
    folders = {run(tools, "import os; print(os.getcwd())"), run(tools, "console.log(process.cwd())", "javascript")}
    assert folders == {tools.execute_command("pwd").value}


def test_r12_any_text_round_trips_through_files_code_and_commands(tools):
    for path, text in (("awkward.txt", AWKWARD), ("empty.txt", ""), ("nul.txt", "a\0b")):
        tools.file_operations("write", content=[{"path": path, "text": text}])
        found = read(tools, path)
        content = base64.b64decode(found["content"]).decode() if found["encoding"] == "base64" else found["content"]
        assert content == text
        assert run(tools, f"print(open({path!r}, newline='').read() == {text!r})") == "True\n"
    assert run(tools, f"print({AWKWARD!r}, end='')") == AWKWARD


def test_r12_a_hundred_megabytes_round_trip(tools):
    text = "0123456789äöü🎉\n" * 5_500_000
    content = text.encode()
    digest = hashlib.sha256(content).hexdigest()
    assert len(content) > 100_000_000
    assert not tools.file_operations("write", content=[{"path": "large.txt", "text": text}]).is_error
    assert tools.execute_command("sha256sum large.txt").value.split()[0] == digest
    found = read(tools, "large.txt")
    assert (len(found["content"]), found["truncated"], found["size"]) == (1_000_000, True, len(content))
    assert text.startswith(found["content"])
    tools.file_operations("remove", ["large.txt"])


@pytest.mark.parametrize(
    ("name", "arguments", "named"),
    [
        ("execute_code", {}, "code"),
        ("execute_code", {"code": "  "}, "code"),
        ("execute_code", {"code": 1}, "code"),
        ("execute_code", {"code": "1", "lang": "python"}, "lang"),
        ("execute_code", {"code": "\ud800"}, "code"),
        ("execute_command", {}, "command"),
        ("execute_command", {"command": ""}, "command"),
        ("file_operations", {}, "operation"),
        ("file_operations", {"operation": "rename"}, "rename"),
        ("file_operations", {"operation": "read"}, "paths"),
        ("file_operations", {"operation": "remove", "paths": []}, "paths"),
        ("file_operations", {"operation": "read", "paths": [1]}, "paths"),
        ("file_operations", {"operation": "write"}, "content"),
        ("file_operations", {"operation": "write", "content": [{"path": "x"}]}, "content[0].text"),
        ("file_operations", {"operation": "write", "content": ["x"]}, "content[0]"),
        ("workspace_read", {}, "path"),
        ("workspace_read", {"path": ""}, "path"),
        ("workspace_write", {"path": "code-interpreter/x"}, "content"),
        ("workspace_write", {"path": "elsewhere/x", "content": ""}, "code-interpreter/"),
        ("workspace_write", {"path": "code-interpreter/x", "content": "", "encoding": "hex"}, "encoding"),
        ("workspace_write", {"path": "code-interpreter/x", "content": "%", "encoding": "base64"}, "content"),
        ("no_such_tool", {}, "no_such_tool"),
    ],
)
def test_r13_missing_and_wrong_arguments_are_named(tools, name, arguments, named):
    result = tools.call(name, arguments)
    assert result.is_error
    assert named in result.value["error"]


def test_r14_selected_files_are_pushed_and_each_failure_is_listed(tools):
    run(tools, "for name in 'ab': open(f'{name}.txt', 'w').write(name)\nimport os; os.symlink('/etc/passwd', 'out')")
    result = tools.ci_push_to_workspace(["a.txt", "missing.txt", "../escape", "out"]).value
    assert (result["files_saved"], result["count"], result["status"]) == (["code-interpreter/a.txt"], 1, "partial")
    assert [failure["path"] for failure in result["failed"]] == ["missing.txt", "../escape", "out"]
    nothing = tools.ci_push_to_workspace(["missing.txt"])
    assert nothing.is_error
    assert nothing.value["count"] == 0
    assert not tools.file_operations("remove", ["out"]).is_error


def test_r14_everything_is_pushed_but_caches(tools):
    run(tools, "import os; os.makedirs('__pycache__', exist_ok=True); open('__pycache__/x.pyc', 'w').write('x')")
    tools.file_operations("write", content=[{"path": "deep/er/file.txt", "text": "x"}])
    result = tools.ci_push_to_workspace().value
    assert (result["status"], result["failed"]) == ("success", [])
    assert {"code-interpreter/deep/er/file.txt", "code-interpreter/a.txt"} <= set(result["files_saved"])
    assert not any("__pycache__" in path for path in result["files_saved"])
    stored = {file["path"] for file in tools.workspace_list("code-interpreter/").value["files"]}
    assert set(result["files_saved"]) <= stored


def test_r15_a_pushed_file_is_readable_under_its_path(tools):
    tools.file_operations(
        "write", content=[{"path": "sub/dir/r15.json", "text": "{}"}, {"path": "r15.txt", "text": "x"}]
    )
    result = tools.ci_push_to_workspace(["sub", "r15.txt"]).value
    assert result["files_saved"] == ["code-interpreter/r15.txt", "code-interpreter/sub/dir/r15.json"]
    wanted = {"path": "code-interpreter/sub/dir/r15.json", "encoding": "text", "content": "{}", "size": 2}
    assert tools.workspace_read("code-interpreter/sub/dir/r15.json").value == {**wanted, "status": "success"}
    assert tools.workspace_read("code-interpreter/r15.txt").value["content"] == "x"


def test_r16_text_stays_text_and_binary_is_base64_by_content_not_by_name(tools):
    text = tools.workspace_write("code-interpreter/text.bin", AWKWARD).value
    assert text == {"path": "code-interpreter/text.bin", "size": len(AWKWARD.encode()), "status": "success"}
    content = bytes(range(256))
    tools.workspace_write("code-interpreter/binary.txt", base64.b64encode(content).decode(), "base64")
    for reading in (
        lambda name: tools.workspace_read(f"code-interpreter/{name}").value,
        lambda name: read(tools, name),
    ):
        found = reading("text.bin")
        assert (found["encoding"], found["content"]) == ("text", AWKWARD)
        found = reading("binary.txt")
        assert (found["encoding"], base64.b64decode(found["content"])) == ("base64", content)


def test_r17_the_workspace_is_listed_by_namespace_past_a_thousand_files(tools):
    run(
        tools, "import os; os.makedirs('many', exist_ok=True)\nfor n in range(1_050): open(f'many/{n:04}', 'w').close()"
    )
    pushed = tools.ci_push_to_workspace(["many"]).value
    assert (pushed["count"], len(pushed["files_saved"]), pushed["truncated"]) == (1_050, 1_000, True)
    listed = tools.workspace_list("code-interpreter/many/").value
    assert (listed["count"], len(listed["files"])) == (1_050, 1_050)
    assert set(listed["files"][0]) == {"path", "size", "last_modified"}
    assert tools.workspace_list().value["count"] >= 1_050
    assert tools.workspace_list("other-namespace/").value["files"] == []
    tools.file_operations("remove", ["many"])


def test_r18_traversal_symlinks_out_and_other_workspaces_are_refused(tools, plant):
    other = plant("code-interpreter/theirs.txt", b"theirs")
    tools.execute_command("ln -s /etc outside; ln -s /etc/passwd passwd")
    refused = [
        tools.file_operations("read", ["../../etc/passwd"]),
        tools.file_operations("read", ["/etc/passwd"]),
        tools.file_operations("read", ["outside/passwd"]),
        tools.file_operations("read", ["passwd"]),
        tools.file_operations("list", ["outside"]),
        tools.file_operations("list", [".."]),
        tools.file_operations("write", content=[{"path": "../x", "text": ""}]),
        tools.file_operations("write", content=[{"path": "outside/x", "text": ""}]),
        tools.file_operations("remove", ["outside/passwd"]),
        tools.file_operations("remove", ["../x"]),
        tools.ci_push_to_workspace(["../x"]),
        tools.ci_push_to_workspace(["outside/passwd"]),
        tools.ci_push_to_workspace(["passwd"]),
        tools.workspace_read(f"../{other}/code-interpreter/theirs.txt"),
        tools.workspace_read(f"code-interpreter/../../{other}/code-interpreter/theirs.txt"),
        tools.workspace_read(".workspace/HEAD"),
        tools.workspace_list(f"../{other}/"),
        tools.workspace_write("code-interpreter/../x", "x"),
        tools.execute_code("1", output_filename="../x"),
    ]
    assert [result.text for result in refused if not result.is_error] == []
    through = tools.execute_code("1", output_filename="passwd")
    assert through.value["status"] == "partial"
    assert tools.workspace_read("code-interpreter/passwd").is_error
    assert Path("/etc/passwd").exists()
    tools.file_operations("remove", ["outside", "passwd"])


class Sessions:
    """Opens local sessions that stop waiting for a dead agent early, and remembers them."""

    def __init__(self, store):
        self._open = local_sessions(store)
        self.opened = []

    async def __call__(self):
        sandbox = await self._open()
        sandbox._connection._connect_timeout = 1.0
        self.opened.append(sandbox)
        return sandbox


def end_processes(sandbox):
    """End a local session's processes behind its client's back, as an expiry does."""
    port = sandbox._connection.endpoint.address.rpartition(":")[2]
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            ready = dict(
                entry.partition("=")[::2] for entry in (folder / "environ").read_text().split("\0") if "=" in entry
            ).get("SANDBOX_READY_FILE")
            if ready and str(json.loads(Path(ready).read_text())["grpc_port"]) == port:
                os.kill(int(folder.name), signal.SIGKILL)
        except (OSError, ValueError):
            continue


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_r20_after_its_end_a_session_is_made_anew_and_the_caller_is_told(tmp_path):
    sessions = Sessions(tmp_path)
    async with SandboxTools(sessions) as tools:
        first = await tools.execute_code("x = 1\nopen('kept.txt', 'w').write('k')\nopen('gone.txt', 'w').write('g')")
        assert first.notice == ""
        await tools.ci_push_to_workspace(["kept.txt"])
        end_processes(sessions.opened[0])
        second = await tools.execute_code("print('x' in globals(), open('kept.txt').read())")
        assert second.value == "False k\n"
        assert "a new one was started" in second.notice
        assert second.notice in second.text
        third = await tools.file_operations("list")
        assert (third.notice, [entry["name"] for entry in third.value]) == ("", ["kept.txt"])
        assert len(sessions.opened) == 2


@pytest.fixture(scope="module")
def short(tmp_path_factory):
    with BlockingSandboxTools(local_sessions(execution_timeout=1)) as tools:
        yield tools


@pytest.mark.parametrize(
    ("language", "code"), [("python", "while True: pass"), ("javascript", "while (true) {}")], ids=["py", "js"]
)
def test_r25_the_time_limit_is_named_and_the_session_goes_on(short, language, code):
    result = short.execute_code(code, language)
    assert result.is_error
    assert "time limit" in result.value["error"], result.text
    assert not short.execute_code("1", language).is_error


def test_r25_the_time_limit_of_a_command_is_named_and_its_children_end(short):
    result = short.execute_command("sleep 597 | sleep 598")
    assert "time limit" in result.value["error"]
    assert short.execute_command("pgrep -f 'sleep 59[78]' || echo none").value.endswith("none\n")


def test_r25_the_output_limit_is_named_and_head_and_tail_are_kept(tools):
    code = "import sys\nprint('first')\nfor _ in range(140): sys.stdout.write('x' * (1 << 20))\nprint('last')"
    text = run(tools, code)
    assert text.startswith("first\n")
    assert "the output limit was hit" in text
    assert "last" in text[-200:]


async def test_r26_an_unreachable_interpreter_is_an_error_object():
    ca, _, _ = make_certificates("nobody.sandboxsessions.dev")

    async def open_session():
        sandbox = AsyncSandbox(Endpoint("127.0.0.1:9", "nobody.sandboxsessions.dev", ca, "t"))
        sandbox._connection._connect_timeout = 0.2
        return sandbox

    async def refuse():
        raise ConnectionRefusedError("nobody is there")

    async with SandboxTools(refuse) as tools:
        result = await tools.execute_code("1 + 1")
        assert result.value == {
            "error": "the code interpreter is not available: nobody is there",
            "status": "error",
            "code_snippet": "1 + 1",
        }
    async with SandboxTools(open_session) as tools:
        for name, arguments in (("execute_command", {"command": "ls"}), ("workspace_list", {})):
            result = await tools.call(name, arguments)
            assert result.is_error
            assert "no agent answered" in result.value["error"]


async def test_the_official_mcp_client_lists_and_calls_the_tools_over_stdio(tmp_path):
    command = ["-m", "sandbox_client", "mcp", "--store", str(tmp_path / "store")]
    server = StdioServerParameters(command=sys.executable, args=command, env={**os.environ})
    told = []

    async def on_progress(progress, total, message):
        told.append((progress, total))

    async with asyncio.timeout(60), Client(server) as client:
        listed = await client.list_tools()
        assert {tool.name: dict(tool.input_schema) for tool in listed.tools} == {
            spec.name: dict(spec.schema) for spec in TOOL_SPECS
        }
        assert client.instructions
        code = await client.call_tool("execute_code", {"code": "print(6 * 7)"})
        assert (code.is_error, [block.text for block in code.content]) == (False, ["42\n"])
        chart = {"code": PLOT + "plt.savefig('c.png')", "output_filename": "c.png"}
        text, image = (await client.call_tool("execute_code", chart)).content
        assert "code-interpreter/c.png" in text.text
        assert (image.type, image.mime_type) == ("image", "image/png")
        assert base64.b64decode(image.data).startswith(b"\x89PNG\r\n\x1a\n")
        failed = await client.call_tool("execute_code", {"code": "1 / 0"})
        assert failed.is_error
        assert json.loads(failed.content[0].text)["error"] == "ZeroDivisionError: division by zero"
        wrong = await client.call_tool("file_operations", {"operation": "rename"})
        assert "rename" in json.loads(wrong.content[0].text)["error"]
        await client.call_tool("execute_code", {"code": "for n in range(30): open(f'f{n}', 'w').write('x')"})
        pushed = await client.call_tool("ci_push_to_workspace", {}, progress_callback=on_progress)
        assert json.loads(pushed.content[0].text)["count"] == 31
        assert told
        assert told == sorted(told)
