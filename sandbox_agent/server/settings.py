"""Reads the agent's settings from its environment. docs/pod-contract.md lists the variables and their defaults."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_PORT: Final = 65535


class SettingsError(ValueError):
    """An error for a variable with an invalid value. The message names the variable."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of an agent: its folders, addresses and ports."""

    link_dir: Path = Path("/run/sandbox")
    tls_dir: Path = Path("/etc/sandbox/tls")
    listen_address: str = "0.0.0.0"  # noqa: S104 - a pod's address is not known before it runs; TLS and NetworkPolicy guard it
    grpc_port: int = 8443
    control_port: int = 8444
    health_port: int = 8081
    ready_file: Path | None = None
    """Local mode: the file to write the chosen ports to."""
    preload_storage: Mapping[str, str | bool] | None = None
    """Create the storage client at start-up instead of at Bind. May have `endpoint`, `region` and `path_style` as in a
    binding's S3Store. None: create it at Bind."""
    stop_seconds: float = 0.0
    """Time limit of the last push, which begins when the agent receives SIGTERM. 0: no last push."""
    tracing: bool = False
    """Send spans, to the endpoint in OpenTelemetry's own variables."""
    reflection: bool = False
    """Serve gRPC server reflection to authenticated clients."""

    @property
    def socket_path(self) -> Path:
        """Socket on which the runtime listens."""
        return self.link_dir / "runtime.sock"


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read the settings from environment variables.

    Raises:
        SettingsError: A variable has an invalid value.
    """
    default = Settings()
    ready_file = environment.get("SANDBOX_READY_FILE")
    return Settings(
        link_dir=Path(environment.get("SANDBOX_LINK_DIR") or default.link_dir),
        tls_dir=Path(environment.get("SANDBOX_TLS_DIR") or default.tls_dir),
        listen_address=environment.get("SANDBOX_LISTEN_ADDRESS") or default.listen_address,
        grpc_port=_read_port(environment, "SANDBOX_GRPC_PORT", default.grpc_port),
        control_port=_read_port(environment, "SANDBOX_CONTROL_PORT", default.control_port),
        health_port=_read_port(environment, "SANDBOX_HEALTH_PORT", default.health_port),
        ready_file=Path(ready_file) if ready_file else None,
        preload_storage=_read_preload(environment.get("SANDBOX_PRELOAD_STORAGE", "")),
        stop_seconds=_read_seconds(environment, "SANDBOX_STOP_SECONDS"),
        tracing=environment.get("SANDBOX_TRACING") == "1",
        reflection=environment.get("SANDBOX_REFLECTION") == "1",
    )


def _read_preload(text: str) -> Mapping[str, str | bool] | None:
    """Read `1` or a JSON object. Its values are not secret, so an error may show them."""
    if text in {"", "0", "1"}:
        return {} if text == "1" else None
    kinds = {"endpoint": str, "region": str, "path_style": bool}
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict) or any(not isinstance(each, kinds.get(key, ())) for key, each in value.items()):
        raise SettingsError(
            f"SANDBOX_PRELOAD_STORAGE must be 1, or a JSON object with {', '.join(kinds)}, not {text!r}"
        )
    return value


def _read_seconds(environment: Mapping[str, str], name: str) -> float:
    text = environment.get(name) or "0"
    if not (text.isascii() and text.isdigit()):
        raise SettingsError(f"{name} must be a whole number of seconds, not {text!r}")
    return float(text)


def _read_port(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name)
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and int(text) <= _MAX_PORT):
        raise SettingsError(f"{name} must be a port number from 0 to {_MAX_PORT}, not {text!r}")
    return int(text)
