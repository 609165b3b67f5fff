"""Runs the same cells in a notebook kernel and in a local session, side by side."""

import contextlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import islice

from jupyter_client.manager import KernelManager

import sandbox_client.local.session as local_session
from sandbox_client import Sandbox
from tests.differential.outcome import Outcome, Recorder

TIMEOUT = 60.0
FIXED = {
    "PYTHONHASHSEED": "0",
    "TZ": "UTC",
    "LC_ALL": "C.UTF-8",
    "COLUMNS": "80",
    "SANDBOX_PASS_ENVIRONMENT": "PYTHONHASHSEED",
}
"""Environment of both sides, so that sets, times and texts are the same."""
OUR_TYPES = frozenset({"application/vnd.dataresource+json", "application/vnd.sandbox.chart+json"})
"""Forms that a notebook does not have; docs/results.md describes them."""


@dataclass(frozen=True)
class Pair:
    """The outcomes of one cell on both sides."""

    notebook: Outcome
    session: Outcome

    @property
    def differences(self):
        return self.notebook.differences(self.session)


class Sides:
    """A kernel and a session with a context. `restart` replaces both interpreters."""

    def __init__(self, notebook, session):
        self._notebook = notebook
        self._session = session

    def run(self, code):
        request = self._notebook.start(code)
        session = self._session.run(code)
        return Pair(self._notebook.finish(request), session)

    def restart(self):
        self._notebook.restart()
        self._session.restart()


class _NotebookSide:
    def __init__(self, manager, folder):
        self._manager = manager
        self._folders = {str(folder): "<folder>"}
        self._client = None
        self._connect()

    def _connect(self):
        self._client = self._manager.blocking_client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=TIMEOUT)

    def restart(self):
        self._client.stop_channels()
        self._manager.restart_kernel(now=True)
        self._connect()

    def close(self):
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)

    def start(self, code):
        return self._client.execute(code, allow_stdin=False)

    def finish(self, request):
        recorder, deadline = Recorder(self._folders), time.monotonic() + TIMEOUT
        while True:
            message = self._client.get_iopub_msg(timeout=max(0.1, deadline - time.monotonic()))
            if message["parent_header"].get("msg_id") != request:
                continue
            kind, content = message["msg_type"], message["content"]
            if kind == "stream":
                recorder.write(content["name"], content["text"])
            elif kind in ("display_data", "execute_result", "update_display_data"):
                name = content.get("transient", {}).get("display_id", "")
                is_update = kind == "update_display_data"
                recorder.show(content["data"], name, is_main=kind == "execute_result", is_update=is_update)
            elif kind == "status" and content["execution_state"] == "idle":
                break
        reply = self._client.get_shell_msg(timeout=TIMEOUT)
        while reply["parent_header"].get("msg_id") != request:
            reply = self._client.get_shell_msg(timeout=TIMEOUT)
        return _close(recorder, reply["content"])


def _close(recorder, reply):
    for payload in reply.get("payload", ()):
        # A notebook shows a page below its cells; we print it.
        if payload["source"] == "page":
            recorder.write("stdout", payload["data"].get("text/plain", "").rstrip("\n") + "\n")
    if reply["status"] == "error":
        if reply["ename"] == "UsageError":
            recorder.take_back("stderr", f"UsageError: {reply['evalue']}\n")
        recorder.fail(reply["ename"], reply["evalue"])
    return recorder.finish()


class _SessionSide:
    def __init__(self, sandbox, folder):
        self._sandbox = sandbox
        self._folders = {str(folder): "<folder>"}
        self._context = sandbox.contexts.create("python").id

    def restart(self):
        self._sandbox.contexts.delete(self._context)
        self._context = self._sandbox.contexts.create("python").id

    def run(self, code):
        execution = self._sandbox.run_code(code, context=self._context, timeout=TIMEOUT)
        recorder = Recorder(self._folders)
        texts, results = {"stdout": execution.stdout, "stderr": execution.stderr}, iter(execution.results)
        for kind, count in execution.order:
            if kind == "result":
                for result in islice(results, count):
                    shown = {mime: part for mime, part in result.to_bundle().items() if mime not in OUR_TYPES}
                    recorder.show(shown, result.display_id, is_main=result.is_main, is_update=result.is_update)
            else:
                recorder.write(kind, texts[kind][:count])
                texts[kind] = texts[kind][count:]
        if execution.error is not None:
            recorder.fail(execution.error.name, execution.error.value)
        if execution.context_restarted:
            recorder.fail("<the interpreter has ended>", "")
        return recorder.finish()


@contextlib.contextmanager
def open_sides(folder):
    """Start a kernel and a session, each with a folder of its own below `folder`, and end them afterwards."""
    places = {}
    for side in ("notebook", "session"):
        places[side] = folder / side
        (places[side] / "home").mkdir(parents=True)
    manager = KernelManager()
    manager.kernel_spec.argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    environment = {**os.environ, **FIXED, "HOME": str(places["notebook"] / "home")}
    # With the second, a kernel does not show what children write.
    for variable in ("MPLBACKEND", "PYTEST_CURRENT_TEST"):
        environment.pop(variable, None)
    manager.start_kernel(
        cwd=str(places["notebook"]), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    with contextlib.ExitStack() as stack:
        kernel = _NotebookSide(manager, places["notebook"])
        stack.callback(kernel.close)
        with _inherited(FIXED):
            sandbox = stack.enter_context(Sandbox.local(places["session"], env=FIXED, egress="none"))
        yield Sides(kernel, _SessionSide(sandbox, places["session"]))


@contextlib.contextmanager
def _inherited(variables):
    """Let a local session inherit these variables. Python reads some of them only when its process starts."""
    before, names = dict(os.environ), local_session._INHERITED
    os.environ.update(variables)
    local_session._INHERITED = names | set(variables)
    try:
        yield
    finally:
        local_session._INHERITED = names
        os.environ.clear()
        os.environ.update(before)


def describe(code, pair):
    """Return a text for people that shows a cell and how the sides differ."""
    lines = ["--- cell", code]
    for name, (left, right) in pair.differences.items():
        lines += [f"--- {name}: notebook", _text(left), f"--- {name}: session", _text(right)]
    return "\n".join(lines)


def _text(value):
    return value if isinstance(value, str) else json.dumps(value, default=sorted, ensure_ascii=False)
