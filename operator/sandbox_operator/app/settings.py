"""The operator's settings: `SANDBOX_OPERATOR_<NAME>` in the environment, checked once at the edge.

Lists are separated by commas, labels are written `key=value`. Errors: SettingsError, naming the variable.
"""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from sandbox_operator.api import naming
from sandbox_operator.credentials.iam_policy import build_session_policy
from sandbox_operator.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX: Final = "SANDBOX_OPERATOR_"
_LATEST_RENEWAL: Final = 0.75


def _split(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _labels(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in _split(value)]
    if any(not separator for _, separator, _ in pairs):
        raise ValueError("write labels as key=value, separated by commas")
    return {key: content for key, _, content in pairs}


Words = Annotated[tuple[str, ...], BeforeValidator(_split)]
Labels = Annotated[dict[str, str], BeforeValidator(_labels)]


@dataclass(frozen=True, slots=True)
class Images:
    """The images of pods whose template names none."""

    agent: str
    sandbox: str
    environment: tuple[tuple[str, str], ...] = ()
    """Variables of every agent, whatever its template."""


class Settings(BaseModel):
    """What the chart (or a developer's shell) tells the operator; each field is the variable of the same name."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    namespace: str = "sandbox-operator"
    """The operator's own namespace: lease and CA live there."""
    pod_name: str = ""
    """Identity in the lease; the host's name with a random end where empty."""
    pod_labels: Labels = {"app.kubernetes.io/name": "sandbox-operator"}
    """Labels of the operator's pods, which the sessions' NetworkPolicies let in."""
    watch_namespaces: Words = ()
    """Where sessions are served; empty: everywhere."""
    agent_image: str = "sandbox-agent:latest"
    sandbox_image: str = "sandbox:latest"
    """Of templates that name none."""
    default_template: str = "default"
    ca_secret: str = "sandbox-operator-ca"  # noqa: S105 - a name
    lease: str = "sandbox-operator"
    health_port: int = Field(8081, ge=0, le=65535)
    metrics_port: int = Field(8080, ge=0, le=65535)
    workers: int = Field(64, ge=1, le=1000)
    resync_seconds: float = Field(60.0, ge=1)
    start_timeout: float = Field(300.0, ge=1)
    """Seconds after which a pod that does not start makes its session Failed (the pod is kept)."""
    drain_grace: float = Field(10.0, ge=0)
    """Seconds that running work gets before a suspend pushes and stops it."""
    drain_timeout: float = Field(900.0, ge=1)
    """Seconds that a push at suspend may take."""
    log_level: str = "INFO"

    storage_bucket: str = ""
    storage_endpoint: str = ""
    storage_region: str = "us-east-1"
    storage_prefix: str = "sandboxes"
    storage_path_style: bool = False
    storage_credentials: Literal["static", "sts"] = "static"
    """What sessions get: the operator's own credentials, or some made for their workspace by STS AssumeRole."""
    storage_credentials_dir: Path = Path("/etc/sandbox-operator/storage")
    """Folder with the files `access_key_id` and `secret_access_key`; read anew at each Bind."""
    storage_access_key_id: str = ""
    storage_secret_access_key: str = Field("", repr=False)
    storage_ca_file: Path | None = None
    storage_cidrs: Words = ()
    """Addresses of the storage endpoint, let through by every NetworkPolicy."""
    storage_port: int = Field(443, ge=1, le=65535)
    storage_sts_role_arn: str = Field("", pattern=r"^(arn:[a-z-]+:iam::[0-9]*:role/.+)?$", max_length=2048)
    storage_sts_endpoint: str = ""
    """Empty: the storage endpoint, or AWS's own where that is AWS's."""
    storage_sts_external_id: str = ""
    storage_sts_duration: int = Field(3600, ge=900, le=43200)
    """Seconds that a session's credentials live."""
    storage_sts_renew_seconds: float = Field(0.0, ge=0)
    """Age at which they are replaced; 0: half their life."""

    tracing_endpoint: str = Field("", pattern=r"^(https?://[^/]+/?)?$")
    """Where the operator and its agents send spans by OTLP over gRPC; empty: there are none."""
    tracing_cidrs: Words = ()
    """Addresses of the collector, let through by every NetworkPolicy."""
    tracing_port: int = Field(4317, ge=1, le=65535)
    """The collector's port at these addresses."""
    tracing_ratio: float = Field(1.0, ge=0, le=1)
    """Share of traces that are recorded, of those that do not come with a caller's decision."""

    @field_validator("storage_cidrs", "tracing_cidrs")
    @classmethod
    def _check_cidrs(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for cidr in value:
            ipaddress.ip_network(cidr)
        return value

    @field_validator("storage_prefix")
    @classmethod
    def _check_prefix(cls, value: str) -> str:
        return value.strip("/")

    @model_validator(mode="after")
    def _check_sts(self) -> Settings:
        if self.storage_credentials != "sts":
            # Handing out the shared credentials although a role was asked for would be the opposite of what was asked.
            if self.storage_sts_role_arn:
                raise ValueError("STORAGE_STS_ROLE_ARN needs STORAGE_CREDENTIALS=sts")
            return self
        if not self.storage_sts_role_arn or not self.storage_bucket:
            raise ValueError("STORAGE_CREDENTIALS=sts needs STORAGE_BUCKET and STORAGE_STS_ROLE_ARN")
        if self.storage_sts_renew_seconds > self.storage_sts_duration * _LATEST_RENEWAL:
            raise ValueError("STORAGE_STS_RENEW_SECONDS has to leave a quarter of STORAGE_STS_DURATION for retries")
        try:
            build_session_policy(
                self.storage_bucket, naming.key_prefix(self.storage_prefix, "n", "w"), self.storage_sts_role_arn
            )
        except ValueError as error:
            raise ValueError(f"STORAGE_BUCKET, STORAGE_PREFIX: {error}") from None
        return self

    @property
    def images(self) -> Images:
        """The images of pods whose template names none."""
        environment: dict[str, str] = {}
        if self.storage_bucket:
            known = {
                "endpoint": self.storage_endpoint,
                "region": self.storage_region,
                "path_style": self.storage_path_style,
            }
            environment["SANDBOX_PRELOAD_STORAGE"] = json.dumps(known, separators=(",", ":"))
        if tracing := self.tracing_environment:
            environment |= {"SANDBOX_TRACING": "1", **tracing}
        return Images(self.agent_image, self.sandbox_image, tuple(environment.items()))

    @property
    def tracing_environment(self) -> dict[str, str]:
        """What OpenTelemetry reads; empty where there is no tracing."""
        if not self.tracing_endpoint:
            return {}
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.tracing_endpoint,
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": str(self.tracing_ratio),
        }

    @property
    def agents_need_dns(self) -> bool:
        """Whether an agent has to resolve a name: of the storage endpoint, or of the collector."""
        return (bool(self.storage_bucket) and _is_name(self.storage_endpoint)) or (
            bool(self.tracing_endpoint) and _is_name(self.tracing_endpoint)
        )


def _is_name(endpoint: str) -> bool:
    """Whether an endpoint's host is a name; that of none is AWS's."""
    try:
        ipaddress.ip_address(urlsplit(endpoint).hostname or "")
    except ValueError:
        return True
    return False


def load_settings(environment: Mapping[str, str]) -> Settings:
    """Settings from environment variables; unknown `SANDBOX_OPERATOR_*` names are refused, so that a typo is seen.

    Raises:
        SettingsError: A variable is unknown or its value is wrong.
    """
    values = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(PREFIX) and not name.startswith(f"{PREFIX}FAULT_") and value
    }
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        raise SettingsError(f"{PREFIX}{name}: {first['msg']}") from None
