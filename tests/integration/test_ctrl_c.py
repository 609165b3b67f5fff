"""Ctrl-C in code without asyncio interrupts its cell. A process of its own, because only a main thread gets Ctrl-C."""

import subprocess
import sys

import pytest

PROGRAM = """
import _thread, sys, threading, time
from sandbox_client import Sandbox

language, endless, use = sys.argv[1:]
with Sandbox.local() as sandbox:
    sandbox.run_code("kept = 41", language)
    threading.Timer(0.5, _thread.interrupt_main).start()
    try:
        sandbox.run_code(endless, language)
    except KeyboardInterrupt:
        begin = time.monotonic()
        shown = sandbox.run_code(use, language).stdout
        print(f"interrupted, {shown.strip()}, {'soon' if time.monotonic() - begin < 20 else 'late'}")
"""


@pytest.mark.parametrize(
    ("language", "endless", "use"),
    [
        ("python", "import time; time.sleep(300)", "print(kept + 1)"),
        ("javascript", "while (true) {}", "console.log(kept + 1)"),
    ],
)
def test_ctrl_c_interrupts_the_cell_and_keeps_its_variables(language, endless, use):
    command = [sys.executable, "-c", PROGRAM, language, endless, use]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.stdout == "interrupted, 42, soon\n", done.stderr
