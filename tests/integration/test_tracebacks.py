"""A traceback shows the user's own code: no frame of the runtime, of asyncio, of IPython or of Node's internals."""

import re

import pytest

from sandbox_client import Sandbox

INTERNAL = re.compile(r"sandbox_runtime|/asyncio/|site-packages/IPython|selectors\.py|node:internal|\.cjs")
SETUP = "import asyncio\nasync def fail():\n    await asyncio.sleep(0)\n    1 / 0\n"


@pytest.fixture(scope="module", params=["plain", "preloaded"])
def sandbox(request, tmp_path_factory):
    """A session whose interpreters have, or have not, imported IPython before the first cell."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "plain":
            patch.setenv("SANDBOX_ZYGOTE_PRELOAD", "")
        with Sandbox.local(tmp_path_factory.mktemp("workspace")) as sandbox:
            yield sandbox


@pytest.fixture(scope="module")
def run(sandbox):
    sandbox.run_code(SETUP)
    return sandbox.run_code


def check(execution, *words):
    shown = str(execution)
    assert not INTERNAL.search(shown), shown
    for word in words:
        assert word in shown
    return shown


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("await fail()", "    await fail()\n"),
        ("await asyncio.gather(fail(), fail())", "    await asyncio.gather(fail(), fail())\n"),
        ("asyncio.run(fail())", "    asyncio.run(fail())\n"),
        ("await asyncio.to_thread(lambda: 1 / 0)", "in <lambda>\n"),
        ("async with asyncio.TaskGroup() as group:\n    group.create_task(fail())", "in fail\n"),
        ("try:\n    await fail()\nexcept Exception as error:\n    raise KeyError('k') from error", "KeyError: 'k'"),
        ("raise ExceptionGroup('two', [ValueError('a'), ZeroDivisionError('b')])", "ValueError: a"),
        ("class Bad:\n    def __repr__(self): return 1 / 0\nBad()", "in __repr__\n"),
        ("%time 1 / 0", "    %time 1 / 0\n"),
        ("import concurrent.futures as c\nc.ThreadPoolExecutor().submit(lambda: 1 / 0).result()", "in <lambda>\n"),
    ],
)
def test_errors_of_a_cell(run, code, line):
    execution = run(code)
    assert not execution.ok
    shown = check(execution, line, 'File "<cell ')
    assert "Traceback (most recent call last):" in shown


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("await asyncio.wait_for(asyncio.sleep(9), 0.01)", ("await asyncio.wait_for", "TimeoutError")),
        ("x = (1,\nfor", ("x = (1,\n", "SyntaxError: '(' was never closed")),
        ("eval('1 +')", ('File "<string>", line 1', "SyntaxError")),
    ],
)
def test_errors_without_a_frame_of_a_function(run, code, words):
    check(run(code), *words)


@pytest.mark.parametrize("code", ["await asyncio.sleep(30)", "await asyncio.gather(asyncio.sleep(30))"])
def test_an_interrupted_await_shows_where_the_cell_waited(run, code):
    execution = run(code, timeout=0.5)
    check(execution, f"    {code}\nKeyboardInterrupt")
    assert execution.limit == "execution_time"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import threading\nt = threading.Thread(target=lambda: 1 / 0); t.start(); t.join()", "in <lambda>"),
        (
            "task = asyncio.create_task(fail()); await asyncio.sleep(0.05); del task; import gc; gc.collect();",
            "in fail",
        ),
        ("asyncio.get_running_loop().call_soon(lambda: 1 / 0); await asyncio.sleep(0.05)", "in <lambda>"),
        ("class Bad:\n    def _repr_html_(self): return 1 / 0\nBad()", "in _repr_html_"),
        ("class Bad:\n    def _repr_mimebundle_(self, **_): return 1 / 0\ndisplay(Bad())", "in _repr_mimebundle_"),
        ("class Bad:\n    def __repr__(self): return 1 / 0\ndisplay(Bad())", "in __repr__"),
    ],
)
def test_errors_that_end_no_cell(run, code, words):
    pytest.importorskip("IPython")
    execution = run(code)
    assert execution.ok
    check(execution, words, "ZeroDivisionError")


def test_the_last_error_has_no_internal_frames_either(run):
    pytest.importorskip("IPython")
    run("await fail()")
    check(run("%tb"), "await fail()", "ZeroDivisionError")
    check(run("import traceback; traceback.print_last()"), "await fail()")
    run("%xmode Context")
    check(run("await fail()"), "----> 1 await fail()")
    run("%xmode Plain")


@pytest.mark.parametrize(
    "code",
    [
        "require('./nope')",
        "await require('fs/promises').readFile('/nope')",
        "require('fs').readFileSync('/nope')",
        "await import('./nope.mjs')",
        "JSON.parse('{')",
        "setTimeout(() => { null.x }, 5); await new Promise((r) => setTimeout(r, 100))",
        "throw new Error('outer', {cause: new Error('inner')})",
        "try { require('./nope') } catch (error) { console.log(error) }",
        "try { await require('fs/promises').readFile('/nope') } catch (error) { console.log(error.stack) }",
        "new Promise((_, reject) => reject(new Error('no')))",
    ],
)
def test_errors_of_javascript(run, code):
    # Node keeps ten frames, and all those of `require` may be its own.
    check(run(code, "javascript"), "rror", "cell.js" if "require('./nope')" in code else "cell-")
