"""The agent's environment, read once. docs/pod-contract.md lists the names and defaults."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_LAST_PORT: Final = 65535


class SettingsError(ValueError):
    """A variable has a value the agent cannot use; the message names it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Where the agent listens and what it finds where."""

    link_dir: Path = Path("/run/sandbox")
    tls_dir: Path = Path("/etc/sandbox/tls")
    listen_address: str = "0.0.0.0"  # noqa: S104 - a pod's address is not known before it runs; TLS and NetworkPolicy guard it
    grpc_port: int = 8443
    control_port: int = 8444
    health_port: int = 8081
    ready_file: Path | None = None
    """Local mode: where the chosen ports are told."""
    preload_storage: Mapping[str, str | bool] | None = None
    """Make the storage client before there is a session, which will need it: `endpoint`, `region` and `path_style` as
    in a binding's S3Store, where they are known. None: do not."""
    stop_seconds: float = 0.0
    """How long a last push may take once the agent is told to stop; 0: there is none."""

    tracing: bool = False
    """Whether to send spans, where OpenTelemetry's own variables say."""

    @property
    def socket_path(self) -> Path:
        """Where the runtime listens."""
        return self.link_dir / "runtime.sock"


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Settings from environment variables.

    Raises:
        SettingsError: A port or a time is none.
    """
    default = Settings()
    ready_file = environment.get("SANDBOX_READY_FILE")
    return Settings(
        link_dir=Path(environment.get("SANDBOX_LINK_DIR") or default.link_dir),
        tls_dir=Path(environment.get("SANDBOX_TLS_DIR") or default.tls_dir),
        listen_address=environment.get("SANDBOX_LISTEN_ADDRESS") or default.listen_address,
        grpc_port=_port(environment, "SANDBOX_GRPC_PORT", default.grpc_port),
        control_port=_port(environment, "SANDBOX_CONTROL_PORT", default.control_port),
        health_port=_port(environment, "SANDBOX_HEALTH_PORT", default.health_port),
        ready_file=Path(ready_file) if ready_file else None,
        preload_storage=_preloaded(environment.get("SANDBOX_PRELOAD_STORAGE", "")),
        stop_seconds=_seconds(environment, "SANDBOX_STOP_SECONDS"),
        tracing=environment.get("SANDBOX_TRACING") == "1",
    )


def _preloaded(text: str) -> Mapping[str, str | bool] | None:
    """`1`, or a JSON object; nothing of it is a secret."""
    if text in {"", "0", "1"}:
        return {} if text == "1" else None
    kinds = {"endpoint": str, "region": str, "path_style": bool}
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict) or any(not isinstance(each, kinds.get(key, ())) for key, each in value.items()):
        raise SettingsError(f"SANDBOX_PRELOAD_STORAGE must be 1, or an object with {', '.join(kinds)}, not {text!r}")
    return value


def _seconds(environment: Mapping[str, str], name: str) -> float:
    text = environment.get(name) or "0"
    if not (text.isascii() and text.isdigit()):
        raise SettingsError(f"{name} must be a whole number of seconds, not {text!r}")
    return float(text)


def _port(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name)
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and int(text) <= _LAST_PORT):
        raise SettingsError(f"{name} must be a port number from 0 to {_LAST_PORT}, not {text!r}")
    return int(text)
