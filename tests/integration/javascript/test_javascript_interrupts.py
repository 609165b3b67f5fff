"""Cells that are interrupted."""

from __future__ import annotations

import time

import pytest


@pytest.mark.parametrize(
    "code",
    [
        "while (true) {}",
        "await new Promise(() => {})",
        "for (;;) await null",
        "for (;;) { await new Promise((resolve) => setTimeout(resolve, 1)); ticks++ }",
        "for (;;) { try { for (;;) {} } catch {} finally {} }",
        "(function spin() { for (;;) {} })()",
        "setTimeout(() => { for (;;) {} }); await new Promise(() => {})",
        "for (;;) console.log('x'.repeat(1000))",
        "Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)",
        "require('child_process').execSync('sleep 60')",
    ],
)
def test_an_interrupt_ends_the_cell_and_keeps_the_state(own, code: str):
    own.run("let ticks = 0, kept = [1]")
    start = time.monotonic()
    assert own.run_interrupted(code).status == "INTERRUPTED"
    assert time.monotonic() - start < 10
    assert own.value("kept.push(2); kept") == [1, 2]
    assert own.run("console.log('still prints')").stdout.endswith("still prints\n")
    before = own.value("ticks")
    assert own.value("await new Promise((resolve) => setTimeout(resolve, 20)); ticks") <= before + 1


def test_an_interrupt_without_a_cell_changes_nothing(own):
    own.interrupt()
    assert own.value("1 + 1") == 2
