"""The JavaScript interpreter as the supervisor uses it: a real Node process behind a socketpair."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from sandbox_link.frames import Frame, FrameDecoder, FrameType, Stream, encode_json, split_data
from sandbox_runtime.javascript import find_node, node_command
from sandbox_runtime.typecheck import own_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

DEADLINE = 30.0
INTERRUPT = encode_json(FrameType.EVENT, 0, {"type": "interrupt"})


@dataclass
class Outcome:
    """What one cell sent, up to its CLOSE."""

    status: str = ""
    ok: dict[str, Any] = field(default_factory=dict)
    output: list[tuple[str, bytes]] = field(default_factory=list)
    parts: dict[str, bytes] = field(default_factory=dict)
    shown: list[tuple[dict[str, Any], dict[str, bytes]]] = field(default_factory=list)
    error: dict[str, Any] = field(default_factory=dict)

    @property
    def stdout(self) -> str:
        return b"".join(data for stream, data in self.output if stream == "STDOUT").decode()

    @property
    def stderr(self) -> str:
        return b"".join(data for stream, data in self.output if stream == "STDERR").decode()

    @property
    def text(self) -> str:
        return self.parts.get("text/plain", b"").decode()


class Interpreter:
    """A frame client and the process it talks to."""

    def __init__(
        self,
        cwd: Path,
        *,
        env: dict[str, str] | None = None,
        control_fd: int | None = None,
        compilers: Sequence[Path] = (own_folder(),),
    ) -> None:
        ours, theirs = socket.socketpair()
        number = theirs.fileno() if control_fd is None else os.dup2(theirs.fileno(), control_fd)
        self.process = subprocess.Popen(
            node_command(find_node(), compilers),
            pass_fds=[number],
            env={"PATH": os.environ["PATH"], "SANDBOX_CONTROL_FD": str(number)},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        if control_fd is not None:
            os.close(number)
        theirs.close()
        ours.settimeout(DEADLINE)
        self.socket = ours
        self._decoder = FrameDecoder()
        self._frames: list[Frame] = []
        self._channel = 0
        self._send_open(0, {"op": "init", "env": env or {}, "cwd": str(cwd)})
        assert self._next() == Frame(FrameType.EVENT, 0, b'{"type":"ready"}')

    def _send_open(self, channel: int, message: dict[str, Any]) -> None:
        self.socket.sendall(encode_json(FrameType.OPEN, channel, message))

    def _next(self) -> Frame:
        while not self._frames:
            data = self.socket.recv(1 << 20)
            if not data:
                raise EOFError(self.process.communicate())
            self._frames.extend(self._decoder.feed(data))
        return self._frames.pop(0)

    def begin(self, code: str, language: str = "javascript", *, interrupted: bool = False) -> None:
        """Sends a cell; with an interrupt in the same write where it is to be `interrupted`."""
        self._channel += 1
        body = code.encode()
        opened = {"op": "execute", "language": language, "code_bytes": len(body)}
        frames = [encode_json(FrameType.OPEN, self._channel, opened), *split_data(self._channel, Stream.BODY, body)]
        self.socket.sendall(b"".join([*frames, INTERRUPT] if interrupted else frames))

    def finish(self, on_frame: Callable[[Frame], None] = lambda _: None) -> Outcome:
        outcome, body, sizes = Outcome(), b"", []
        while True:
            frame = self._next()
            if (frame.type, frame.channel) == (FrameType.EVENT, 0):
                assert frame.json() == {"type": "synchronize"}
                self.socket.sendall(encode_json(FrameType.EVENT, 0, {"type": "synchronized"}))
                continue
            on_frame(frame)
            assert frame.channel == self._channel
            if frame.type is FrameType.CLOSE:
                break
            if frame.type is FrameType.EVENT:
                assert not sizes
                event = frame.json()
                if event["type"] == "error":
                    outcome.error = event
                else:
                    assert event.pop("type") == "result"
                    sizes = event.pop("parts")
                    outcome.shown.append((event, {}))
            elif frame.payload[0] == Stream.BODY:
                body += frame.payload[1:]
            else:
                outcome.output.append((Stream(frame.payload[0]).name, frame.payload[1:]))
            while sizes and len(body) >= sizes[0][1]:
                mime, size = sizes.pop(0)
                outcome.shown[-1][1][mime], body = body[:size], body[size:]
        assert (sizes, body) == ([], b"")
        outcome.ok = frame.json()["ok"]
        outcome.status = outcome.ok["status"]
        for event, parts in outcome.shown:
            if event["is_main"]:
                outcome.parts = parts
        return outcome

    def run(self, code: str, language: str = "javascript") -> Outcome:
        self.begin(code, language)
        return self.finish()

    def value(self, code: str, language: str = "javascript") -> Any:
        """The value of a cell that is expected to have one."""
        outcome = self.run(code, language)
        assert outcome.status == "OK", outcome
        return json.loads(outcome.parts["application/json"])

    def interrupt(self) -> None:
        self.socket.sendall(INTERRUPT)

    def run_interrupted(self, code: str, *, before: str = "console.log('go');") -> Outcome:
        """Interrupts a cell once `go` was printed, by itself or by what an earlier cell left behind."""
        self.begin(f"{before} {code}")
        return self.finish_interrupted()

    def finish_interrupted(self) -> Outcome:
        """The end of a cell that is interrupted once `go` was printed."""

        waiting = [self.interrupt]

        def interrupt_at_output(frame: Frame) -> None:
            if waiting and frame.type is FrameType.DATA and b"go\n" in frame.payload:
                waiting.pop()()

        return self.finish(interrupt_at_output)

    def close(self) -> None:
        self.socket.close()
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Interpreter]:
    """For tests that do no more than declare names of their own."""
    interpreter = Interpreter(tmp_path_factory.mktemp("shared"), env={"GREETING": "hello"})
    yield interpreter
    interpreter.close()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Interpreter]:
    interpreter = Interpreter(tmp_path)
    yield interpreter
    interpreter.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Interpreter]]:
    """Starts interpreters with other arguments than usual."""
    started: list[Interpreter] = []

    def start_one(cwd: Path = tmp_path, **options: Any) -> Interpreter:
        started.append(Interpreter(cwd, **options))
        return started[-1]

    yield start_one
    for interpreter in started:
        interpreter.close()
