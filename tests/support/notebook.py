"""A real notebook kernel, and what its cells show."""

import contextlib
import os
import queue
import sys
import time
from dataclasses import dataclass, field

from jupyter_client.manager import KernelManager

TIMEOUT = 90.0


@dataclass
class Shown:
    """Messages that one cell of the notebook showed, in order.

    `outputs` has the content of each message: `("stdout", text)`, `("stderr", text)`, `("display", mime bundle)`,
    `("result", mime bundle)` and `("error", lines of the traceback)`.
    """

    outputs: list[tuple[str, object]] = field(default_factory=list)

    @property
    def stdout(self):
        return "".join(value for kind, value in self.outputs if kind == "stdout")

    @property
    def error(self):
        return next(("\n".join(value) for kind, value in self.outputs if kind == "error"), "")

    @property
    def bundles(self):
        return [value for kind, value in self.outputs if kind in ("display", "result")]


class Notebook:
    def __init__(self, manager, client):
        self.manager = manager
        self.client = client

    def start(self, code):
        return self.client.execute(code)

    def run(self, code, timeout=TIMEOUT):
        return self.finish(self.start(code), timeout)

    def finish(self, request, timeout=TIMEOUT):
        shown, deadline = Shown(), time.monotonic() + timeout
        while time.monotonic() < deadline:
            with contextlib.suppress(queue.Empty):
                message = self.client.get_iopub_msg(timeout=1)
                if message["parent_header"].get("msg_id") != request:
                    continue
                kind, content = message["msg_type"], message["content"]
                if kind == "stream":
                    shown.outputs.append((content["name"], content["text"]))
                elif kind == "display_data":
                    shown.outputs.append(("display", content["data"]))
                elif kind == "execute_result":
                    shown.outputs.append(("result", content["data"]))
                elif kind == "error":
                    shown.outputs.append(("error", content["traceback"]))
                elif kind == "status" and content["execution_state"] == "idle":
                    return shown
        raise TimeoutError(f"the notebook's cell is still running; so far: {shown}")


@contextlib.contextmanager
def open_notebook(folder):
    """Start a kernel that works in a folder, and end it afterwards."""
    manager = KernelManager()
    manager.kernel_spec.argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    manager.start_kernel(cwd=str(folder), env={**os.environ, "SANDBOX_ZYGOTE_PRELOAD": "json"})
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=TIMEOUT)
        yield Notebook(manager, client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
