"""Cells that are interrupted."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from sandbox_runtime import javascript
from sandbox_runtime.javascript import find_node


@pytest.mark.parametrize(
    "code",
    [
        "while (true) {}",
        "await new Promise(() => {})",
        "for (;;) await null",
        "for (;;) { await new Promise((resolve) => setTimeout(resolve, 1)); ticks++ }",
        "for (;;) { try { await new Promise((_, reject) => setTimeout(reject, 1)) } catch { ticks++ } }",
        "for await (const _ of require('timers/promises').setInterval(1)) ticks++",
        "for (;;) { try { for (;;) {} } catch {} finally {} }",
        "(function spin() { for (;;) {} })()",
        # Not before the loop is there: one that begins behind the interrupt is the next cell's to stop.
        "setTimeout(() => { console.log('go'); for (;;) {} }); await new Promise(() => {})",
        "for (;;) console.log('x'.repeat(1000))",
        "Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)",
        "require('child_process').execSync('sleep 60')",
    ],
)
def test_an_interrupt_ends_the_cell_and_keeps_the_state(own, code: str):
    own.run("let ticks = 0, kept = [1]")
    start = time.monotonic()
    before = "" if "'go'" in code else "console.log('go');"
    assert own.run_interrupted(code, before=before).status == "INTERRUPTED"
    assert time.monotonic() - start < 10
    assert own.value("kept.push(2); kept") == [1, 2]
    assert own.run("console.log('still prints')").stdout.endswith("still prints\n")
    ticked = own.value("ticks")
    assert own.value("await new Promise((resolve) => setTimeout(resolve, 20)); ticks") <= ticked + 1


def test_an_interrupt_without_a_cell_changes_nothing(own):
    own.interrupt()
    assert own.value("1 + 1") == 2


UNTIL_INTERRUPTED = "while (!globalThis.__sandbox__.isStale(epoch));"
"""Code that computes until the interpreter has counted an interrupt (or an exit) since `EPOCH`."""
EPOCH = "let epoch = 0; while (globalThis.__sandbox__.isStale(epoch)) epoch++;"


def compute(milliseconds: int) -> str:
    """Code that keeps the main thread to itself."""
    return f"{{ const end = performance.now() + {milliseconds}; while (performance.now() < end); }}"


def test_a_cell_whose_interrupt_falls_between_two_awaits_goes_no_further(own):
    """The event loop turns at the second await, so that nothing has to be terminated."""
    code = f"{UNTIL_INTERRUPTED} await new Promise((resolve) => setTimeout(resolve, 5)); for (;;) {{}}"
    assert own.run_interrupted(code, before=f"{EPOCH} console.log('go');").status == "INTERRUPTED"
    assert own.value("1 + 1") == 2


def test_a_cell_that_is_interrupted_before_its_first_statement_does_not_run(own):
    left = UNTIL_INTERRUPTED.replace(";", " console.log('go');")
    own.run(f"setImmediate(() => {{ {EPOCH} {left} }})")
    code = "globalThis.hasBegun = true; await new Promise(() => {})"
    assert own.run_interrupted(code, before="").status == "INTERRUPTED"
    assert own.value("globalThis.hasBegun ?? null") is None


def test_an_interrupt_that_comes_together_with_its_cell_is_not_lost(own):
    own.begin("for (;;) {}", interrupted=True)
    assert own.finish().status == "INTERRUPTED"
    assert own.value("1 + 1") == 2


@pytest.mark.parametrize(
    ("last", "is_interrupted", "status"),
    [(UNTIL_INTERRUPTED, True, "INTERRUPTED"), ("process.exit(0)", False, "OK")],
    ids=["interrupt", "exit"],
)
def test_what_stops_a_cell_that_ends_by_itself_does_not_reach_the_next_one(own, last, is_interrupted, status):
    """What the cell leaves behind keeps the main thread from answering until the next cell could have begun."""
    left = f"process.nextTick(() => {{ {UNTIL_INTERRUPTED} {compute(15)} }});"
    own.begin(f"{EPOCH} console.log('go'); {left} {last}")
    own.begin(f"{compute(500)} 1 + 1")
    own._channel = 1
    assert (own.finish_interrupted() if is_interrupted else own.finish()).status == status
    own._channel = 2
    assert own.finish().text == "2"


def test_a_cell_is_not_over_before_what_stops_it_is():
    script = Path(__file__).with_name("stopping.cjs")
    folder = Path(javascript.__file__).parent
    # The compiler needs Node's own parser.
    command = [find_node(), "--expose-internals", "--test-reporter=tap", script, folder]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (run.returncode, "# pass 2" in run.stdout) == (0, True), run.stdout + run.stderr


def test_a_global_that_node_loads_at_its_first_use_is_loaded_before_any_cell_can_be_interrupted(own):
    """An interrupt of the loading would leave it half loaded: `performance` was undefined in all later cells."""
    assert own.value("process.moduleLoadList.includes('NativeModule perf_hooks')") is True
