"""The peer: ipykernel with jupyter_client's blocking client, the fastest of its clients in our measurements.

A cell counts as complete when its `idle` status has arrived on iopub and its reply on the shell channel. Output may
arrive until then.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from jupyter_client.manager import KernelManager

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

_TIMEOUT: Final = 120.0


class Kernel:
    """One kernel and its client.

    Attributes:
        start_seconds: Time from the request for the kernel until it answers.
    """

    def __enter__(self) -> Self:
        # It warns about its unencrypted sockets at each start.
        logging.getLogger("traitlets").setLevel(logging.ERROR)
        start = time.perf_counter()
        self._kernel: Any = KernelManager(kernel_name="python3")
        # Its standard error repeats the warning.
        with Path(os.devnull).open("wb") as nowhere:
            self._kernel.start_kernel(stdout=nowhere, stderr=nowhere)
        self._client: Any = self._kernel.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=_TIMEOUT)
        self.start_seconds = time.perf_counter() - start
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.stop_channels()
        self._kernel.shutdown_kernel(now=True)

    def start(self, code: str) -> str:
        """Send a cell and return the id that its messages carry."""
        sent: str = self._client.execute(code)
        return sent

    def finish(self, sent: str, on_message: Callable[[str, dict[str, Any]], None]) -> str:
        """Receive a cell's messages to its end and return the reply's status.

        Args:
            sent: The id that `start` returned.
            on_message: Called with each message's type and content.
        """
        while True:
            message = self._client.get_iopub_msg(timeout=_TIMEOUT)
            if message["parent_header"].get("msg_id") != sent:
                continue
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                break
            on_message(message["msg_type"], message["content"])
        while True:
            reply = self._client.get_shell_msg(timeout=_TIMEOUT)
            if reply["parent_header"].get("msg_id") == sent:
                status: str = reply["content"]["status"]
                return status

    def execute(self, code: str) -> tuple[str, list[bytes | str]]:
        """Run a cell.

        Returns:
            Its standard output, and its PNG images in base64, as they were received.

        Raises:
            RuntimeError: The cell failed.
        """
        output: list[str] = []
        images: list[bytes | str] = []

        def take(kind: str, content: dict[str, Any]) -> None:
            if kind == "stream" and content["name"] == "stdout":
                output.append(content["text"])
            elif kind in ("display_data", "execute_result") and "image/png" in content["data"]:
                images.append(content["data"]["image/png"])

        status = self.finish(self.start(code), take)
        if status != "ok":
            raise RuntimeError(f"the kernel's cell ended with {status}: {code[:200]}")
        return "".join(output), images

    def interrupt(self) -> None:
        """Interrupt the kernel, as a user does."""
        self._kernel.interrupt_kernel()

    def timed(self, code: str) -> float:
        """Run a cell and return the milliseconds until all its output has arrived."""
        start = time.perf_counter()
        self.execute(code)
        return (time.perf_counter() - start) * 1e3
