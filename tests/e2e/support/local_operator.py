"""The operator as a process of this machine, so that it can die at a chosen write; with the chart's own rights."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.support.kubectl import Kubectl
from tests.e2e.support.platform import REPOSITORY, Platform

_START_SECONDS = 60
"""The first one waits for the imports."""
_STOP_SECONDS = 15


@dataclass
class LocalOperator:
    """Starts operators one after the other; each is the same replica to the cluster.

    Attributes:
        starts: How many were started.
    """

    nursery: subprocess.Popen[bytes]
    environment: dict[str, str]
    log: Path
    starts: int = 0
    _pid: int = 0

    def start(self, **fault: int) -> None:
        """Start one, after the last one ended. `kill_at` or `kill_after`: the number of the write at which it dies."""
        self.stop()
        faults = {"kill_at": 0, "kill_after": 0, **fault}
        variables = {f"SANDBOX_OPERATOR_FAULT_{name.upper()}": str(number) for name, number in faults.items()}
        assert self.nursery.stdin
        self.nursery.stdin.write(json.dumps({**self.environment, **variables}).encode() + b"\n")
        line = self._read_line(_START_SECONDS)
        assert line, f"no operator was started:\n{self.tail()}"
        self._pid = int(line)
        self.starts += 1

    @property
    def has_died(self) -> bool:
        """Whether the fault struck. Any other end is an error."""
        if self._pid and (line := self._read_line(0)):
            self._pid = 0
            assert int(line) == -signal.SIGKILL, f"the operator ended with {line}:\n{self.tail()}"
        return not self._pid

    def stop(self) -> None:
        """End it, if it runs."""
        if not self._pid or self.has_died:
            return
        os.kill(self._pid, signal.SIGTERM)
        if not self._read_line(_STOP_SECONDS):
            os.kill(self._pid, signal.SIGKILL)
            self._read_line(_STOP_SECONDS)
        self._pid = 0

    def tail(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-4000:]

    def _read_line(self, timeout: float) -> str:
        """A line of the nursery's; empty where none came in time."""
        assert self.nursery.stdout
        ready, _, _ = select.select([self.nursery.stdout], [], [], timeout)
        return self.nursery.stdout.readline().decode().strip() if ready else ""


@contextlib.contextmanager
def open_local_operator(
    platform: Platform, system: Kubectl, folder: Path, release: str, settings: Mapping[str, str] | None = None
) -> Iterator[LocalOperator]:
    """What starts operators with the settings that the chart would give them and these, and ends the last one."""
    log = folder / "operator.log"
    roots = os.pathsep.join(str(REPOSITORY / root) for root in (".", "operator", "proto"))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SANDBOX_OPERATOR_")}
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.support.operator_nursery"],
            env={**kept, "PYTHONPATH": roots},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            cwd=folder,
            bufsize=0,  # a line that waits in a buffer would be invisible to select
        ) as nursery,
    ):
        environment = {"KUBECONFIG": str(_write_kubeconfig(system, folder, release))}
        for name, value in {**_settings(platform, system, release), **(settings or {})}.items():
            environment[f"SANDBOX_OPERATOR_{name}"] = value
        operator = LocalOperator(nursery, environment, log)
        try:
            yield operator
        finally:
            operator.stop()


def _settings(platform: Platform, system: Kubectl, release: str) -> dict[str, str]:
    storage = platform.storage
    return {
        "NAMESPACE": system.namespace,
        "POD_NAME": "local-operator",
        "POD_LABELS": f"app.kubernetes.io/name={release}",
        "LEASE": release,
        "CA_SECRET": f"{release}-ca",
        "AGENT_IMAGE": platform.image("sandbox-agent"),
        "SANDBOX_IMAGE": platform.image("sandbox-slim"),
        "HEALTH_PORT": "18081",
        "METRICS_PORT": "18080",
        "STORAGE_BUCKET": storage.bucket,
        "STORAGE_ENDPOINT": storage.endpoint,
        "STORAGE_PREFIX": storage.prefix,
        "STORAGE_PATH_STYLE": "true",
        "STORAGE_CIDRS": storage.cidr,
        "STORAGE_PORT": str(storage.port),
        "STORAGE_ACCESS_KEY_ID": storage.access_key,
        "STORAGE_SECRET_ACCESS_KEY": storage.secret_key,
    }


def _write_kubeconfig(system: Kubectl, folder: Path, release: str) -> Path:
    """Our service account's token in the admin's kubeconfig: no right more than in the cluster."""
    path = folder / "kubeconfig"
    config = json.loads(system("config", "view", "--raw", "--minify", "-o", "json"))
    token = system("create", "token", release, "--duration=1h").strip()
    config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
    path.write_text(json.dumps(config))
    return path
