"""Ctrl-C in code without asyncio interrupts its cell, in the thread that waits for it."""

import _thread
import threading
import time

import pytest

from sandbox_client import Sandbox


@pytest.mark.parametrize(
    ("language", "endless", "use"),
    [
        ("python", "import time; time.sleep(300)", "print(kept + 1)"),
        ("javascript", "while (true) {}", "console.log(kept + 1)"),
    ],
)
def test_ctrl_c_interrupts_the_cell_and_keeps_its_variables(language, endless, use):
    with Sandbox.local() as sandbox:
        sandbox.run_code("kept = 41", language)
        threading.Timer(0.5, _thread.interrupt_main).start()
        begin = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            sandbox.run_code(endless, language)
        assert sandbox.run_code(use, language).stdout == "42\n"
        assert time.monotonic() - begin < 10
