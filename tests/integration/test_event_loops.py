"""The synchronous SDK in programs that run an event loop, and in programs that end without closing it."""

import os
import subprocess
import sys

import pytest

TOUR = """
def tour(sandbox):
    seen = []
    assert sandbox.run_code("6 * 7").text == "42"
    sandbox.run_code("print('a')", on_stdout=seen.append)
    assert seen == ["a\\n"]
    assert [type(event).__name__ for event in sandbox.execute("1")] == ["Started", "Result", "Completed"]
    for event in sandbox.execute("print(1)"):
        break
    for event in sandbox.stream_command("echo hi"):
        break
    sandbox.files.write("a", b"1")
    for chunk in sandbox.files.stream("a"):
        break
    assert sandbox.run("cat a").stdout == "1"
    process = sandbox.processes.start("echo hi; sleep 60")
    for piece in process.output():
        break
    process.kill()
    context = sandbox.contexts.create()
    sandbox.contexts.delete(context.id)
    assert sandbox.workspace.status()
"""
IN_A_LOOP = """
async def main():
    with Sandbox.local() as sandbox:
        tour(sandbox)
    one = Sandbox.local()
    tour(one)
    one.close()
    one.close()
asyncio.run(main())
"""
BESIDE_THE_ASYNCHRONOUS = """
async def main():
    async with await AsyncSandbox.local() as other:
        with Sandbox.local() as sandbox:
            tour(sandbox)
            assert (await other.run_code("2")).text == "2"
            await asyncio.gather(*(asyncio.to_thread(tour, sandbox) for _ in range(2)), other.run_code("3"))
asyncio.run(main())
"""
CALLED_BY_A_FRAMEWORK = """
# As a web framework or an agents' library calls it: from the loop, from its threads, in one loop after another.
sandbox = Sandbox.local()
async def main():
    tour(sandbox)
    await asyncio.to_thread(tour, sandbox)
for _ in range(2):
    asyncio.run(main())
asyncio.run(asyncio.to_thread(sandbox.close))
"""
NESTED = """
import nest_asyncio2
nest_asyncio2.apply()
async def main():
    with Sandbox.local() as sandbox:
        tour(sandbox)
        asyncio.get_running_loop().run_until_complete(asyncio.sleep(0))
        tour(sandbox)
asyncio.run(main())
"""
NEVER_CLOSED = """
sandbox = Sandbox.local()
tour(sandbox)
events = sandbox.execute("import time; print(1, flush=True); time.sleep(60)")
next(events)
print(sandbox.run("echo $HOME").stdout)
"""
GARBAGE = """
import gc, os, time
one = Sandbox.local()
tour(one)
folder = one.run("echo $HOME").stdout.strip()
one = None
gc.collect()
deadline = time.monotonic() + 20
while os.path.exists(folder) and time.monotonic() < deadline:
    time.sleep(0.02)
assert not os.path.exists(folder)
"""
PROGRAMS = [IN_A_LOOP, BESIDE_THE_ASYNCHRONOUS, CALLED_BY_A_FRAMEWORK, NESTED, NEVER_CLOSED, GARBAGE]


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_program_works_and_prints_no_complaint(program, tmp_path):
    script = f"import asyncio\nfrom sandbox_client import AsyncSandbox, Sandbox\n{TOUR}\n{program}\nprint('done')"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "SANDBOX_ZYGOTE_PRELOAD": "json"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.returncode, done.stdout[-5:], done.stderr) == (0, "done\n", "")
