"""JavaScript in a local session: processes that wait, packages that npm installs, interrupts from outside."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING

import pytest

from sandbox_client import Sandbox, Status

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox.local() as session:
        yield session


def test_a_new_context_takes_a_process_that_waits(sandbox):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        made = time.time()
        context = sandbox.contexts.create("javascript").id
        born = float(sandbox.run_code("performance.timeOrigin", "javascript", context=context).text) / 1000
        sandbox.contexts.delete(context)
        if born < made:
            return
    pytest.fail("every context started a process of its own")


def test_what_npm_installs_is_there_in_the_next_cell(sandbox):
    package = {"name": "made-here", "version": "1.0.0", "type": "module", "main": "index.js", "bin": "cli.js"}
    sandbox.files.write("pkg/package.json", json.dumps(package))
    sandbox.files.write("pkg/index.js", "export const made = 'here';\n")
    sandbox.files.write("pkg/cli.js", "#!/usr/bin/env node\nconsole.log('from the shell')\n")
    assert "Cannot find package" in sandbox.run_code("import { made } from 'made-here'", "javascript").error.value
    quiet = "--offline --no-audit --no-fund --silent"
    packed = sandbox.run(f"cd pkg && npm pack --silent && cd .. && npm install {quiet} ./pkg/made-here-1.0.0.tgz")
    assert packed.ok, packed
    assert sandbox.run_code("import { made } from 'made-here'; made", "typescript").text == "'here'"
    installed = sandbox.run(f"rm -r node_modules; npm install --global {quiet} ./pkg/made-here-1.0.0.tgz && made-here")
    assert installed.stdout == "from the shell\n", installed
    context = sandbox.contexts.create("javascript").id
    assert sandbox.run_code("(await import('made-here')).made", "javascript", context=context).text == "'here'"


@pytest.mark.parametrize(
    "code",
    [
        "console.log('go'); while (true) {}",
        # Not before the loop is there: one that begins behind the interrupt ends at the next cell's limit.
        "setTimeout(() => { console.log('go'); while (true) {} }); await new Promise(() => {})",
        "console.log('go'); Promise.resolve().then(() => { while (true) {} }); await new Promise(() => {})",
        "process.on('beforeExit', () => {}); console.log('go'); for (;;) await null",
    ],
)
def test_an_interrupt_from_outside_keeps_the_variables(sandbox, code):
    sandbox.run_code("var kept = 'kept'", "javascript")
    running = threading.Event()
    outcomes = []
    runner = threading.Thread(
        target=lambda: outcomes.append(sandbox.run_code(code, "javascript", on_stdout=lambda _: running.set()))
    )
    runner.start()
    assert running.wait(30)
    assert sandbox.contexts.interrupt("javascript")
    runner.join(30)
    assert [outcome.status for outcome in outcomes] == [Status.INTERRUPTED]
    assert sandbox.run_code("kept", "javascript").text == "'kept'"


def test_a_loop_that_begins_after_its_cell_is_stopped_by_the_next_cells_limit(sandbox):
    sandbox.run_code("var still = 1; setTimeout(() => { while (true) {} }, 1); void 0", "javascript")
    deadline = time.monotonic() + 30
    statuses = []
    while time.monotonic() < deadline:
        outcome = sandbox.run_code("still", "javascript", timeout=0.5)
        statuses.append(outcome.status)
        if len(statuses) > 1 and outcome.ok and Status.TIMED_OUT in statuses:
            break
    assert (outcome.text, outcome.status) == ("1", Status.OK)


def test_an_exit_ends_the_cell_and_a_killed_process_the_variables(sandbox):
    assert sandbox.run_code("var value = 1; process.exit(3)", "javascript").error.name == "ProcessExit"
    assert sandbox.run_code("value", "javascript").text == "1"
    killed = sandbox.run_code("process.kill(process.pid, 'SIGKILL')", "javascript")
    assert (killed.status, killed.context_restarted) == (Status.KILLED, True)
    assert sandbox.run_code("typeof value", "javascript").text == "'undefined'"
