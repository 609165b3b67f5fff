"""The operator's settings, read from environment variables `SANDBOX_OPERATOR_<NAME>` and checked at start-up.

Items of a list are separated by commas, and labels are written as `key=value`. A SettingsError names the variable.
"""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.alias_generators import to_camel

from sandbox_operator.api import naming
from sandbox_operator.api.quantities import parse_quantity
from sandbox_operator.credentials.iam_policy import build_session_policy
from sandbox_operator.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX: Final = "SANDBOX_OPERATOR_"
_MIN_PREFIX: Final = {4: 8, 6: 16}
"""Shortest prefix of an endpoint's addresses, by IP version."""
_MAX_RENEW_AGE: Final = 0.75
"""Fraction of credentials' lifetime after which they must have been renewed. The rest is for retries."""


def _split(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _labels(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in _split(value)]
    if any(not separator for _, separator, _ in pairs):
        raise ValueError("write labels as key=value, separated by commas")
    return {key: content for key, _, content in pairs}


def _json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _amount(value: Any) -> Any:
    if value is not None:
        parse_quantity(str(value))
    return None if value is None else str(value)


class NamespaceLimits(BaseModel):
    """The most that the sessions and warm pools of one namespace may use at a time. None: no limit."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, alias_generator=to_camel)

    sessions: int | None = Field(None, ge=0)
    """Sessions that have a pod. Suspended and waiting ones do not count."""
    warm_pods: int | None = Field(None, ge=0)
    """Blank pods of all warm pools."""
    cpu: Annotated[str | None, BeforeValidator(_amount)] = None
    memory: Annotated[str | None, BeforeValidator(_amount)] = None
    """Limits of all containers of the operator's pods."""


CommaSeparated = Annotated[tuple[str, ...], BeforeValidator(_split)]
Labels = Annotated[dict[str, str], BeforeValidator(_labels)]


@dataclass(frozen=True, slots=True)
class Images:
    """The default images of pods, for templates that name none, and the agents' common environment."""

    agent: str
    sandbox: str
    environment: tuple[tuple[str, str], ...] = ()
    """Environment variables of every agent."""


class Settings(BaseModel):
    """The settings. Each field is set by the environment variable of the same name, usually by the chart."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    namespace: str = "sandbox-operator"
    """The operator's own namespace, with its lease and its CA."""
    pod_name: str = ""
    """Identity in the lease. If empty, the host name with a random suffix."""
    pod_labels: Labels = {"app.kubernetes.io/name": "sandbox-operator"}
    """Labels of the operator's pods. The sessions' NetworkPolicies allow traffic from them."""
    watch_namespaces: CommaSeparated = ()
    """Namespaces in which sessions are served. If empty, all namespaces."""
    agent_image: str = "sandbox-agent:latest"
    agent_reflection: bool = False
    """Let agents serve gRPC server reflection to authenticated clients."""
    sandbox_image: str = "sandbox:latest"
    """Image for templates that name none."""
    default_template: str = "default"
    template_metadata: CommaSeparated = ()
    """Glob patterns of label and annotation keys that templates may set on pods, besides those that are harmless."""
    namespace_limits: Annotated[dict[str, NamespaceLimits], BeforeValidator(_json)] = {}
    """Limits by namespace, as JSON. Those of `*` apply to namespaces that are not named."""
    ca_secret: str = "sandbox-operator-ca"  # noqa: S105 - a name
    lease: str = "sandbox-operator"
    health_port: int = Field(8081, ge=0, le=65535)
    metrics_port: int = Field(8080, ge=0, le=65535)
    workers: int = Field(64, ge=1, le=1000)
    """Number of sessions that are reconciled at the same time."""
    resync_seconds: float = Field(60.0, ge=1)
    """Minimum interval in seconds at which all objects are listed again."""
    start_timeout: float = Field(300.0, ge=1)
    """Seconds after which a session whose pod does not start becomes Failed. The pod is kept."""
    drain_grace: float = Field(10.0, ge=0)
    """Seconds that running work may go on when its session is suspended."""
    drain_timeout: float = Field(900.0, ge=1)
    """Seconds that the push of a suspended session may take."""
    unnamed_ttl: float = Field(86400.0, ge=0)
    """Seconds after which a session with a generated name is deleted if it is suspended or does not start. 0: never."""
    log_level: str = "INFO"

    never_reachable: CommaSeparated = ()
    """Addresses that no session may reach, besides private ones: those of the API server and of nodes, if public."""

    storage_bucket: str = ""
    storage_endpoint: str = ""
    storage_region: str = "us-east-1"
    storage_prefix: str = "sandboxes"
    storage_path_style: bool = False
    storage_credentials: Literal["static", "sts"] = "static"
    """Credentials of sessions: the operator's own, or temporary ones for each workspace from STS AssumeRole."""
    storage_credentials_dir: Path = Path("/etc/sandbox-operator/storage")
    """Folder with the files `access_key_id` and `secret_access_key`, which are read at each Bind."""
    storage_access_key_id: str = ""
    storage_secret_access_key: str = Field("", repr=False)
    storage_ca_file: Path | None = None
    storage_cidrs: CommaSeparated = ()
    """Addresses of the storage endpoint. Every NetworkPolicy allows them."""
    storage_port: int = Field(443, ge=1, le=65535)
    storage_sts_role_arn: str = Field("", pattern=r"^(arn:[a-z-]+:iam::[0-9]*:role/.+)?$", max_length=2048)
    storage_sts_endpoint: str = ""
    """If empty, the storage endpoint; or AWS STS if storage is AWS S3."""
    storage_sts_external_id: str = ""
    storage_sts_duration: int = Field(3600, ge=900, le=43200)
    """Lifetime of a session's credentials in seconds."""
    storage_sts_renew_seconds: float = Field(0.0, ge=0)
    """Age in seconds at which these credentials are renewed. 0 stands for half their lifetime."""

    tracing_endpoint: str = Field("", pattern=r"^(https?://[^/]+/?)?$")
    """Endpoint to which the operator and its agents send spans, by OTLP over gRPC. If empty, tracing is off."""
    tracing_cidrs: CommaSeparated = ()
    """Addresses of the collector. Every NetworkPolicy allows them."""
    tracing_port: int = Field(4317, ge=1, le=65535)
    """Port of the collector at these addresses."""
    tracing_ratio: float = Field(1.0, ge=0, le=1)
    """Fraction of traces that are recorded, unless the caller has decided already."""

    @field_validator("never_reachable")
    @classmethod
    def _check_cidrs(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for cidr in value:
            ipaddress.ip_network(cidr)
        return value

    @field_validator("storage_cidrs", "tracing_cidrs")
    @classmethod
    def _check_endpoint(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for cidr in value:
            network = ipaddress.ip_network(cidr)
            if network.prefixlen < _MIN_PREFIX[network.version]:
                raise ValueError(f"{cidr} would open nearly every address to every session; name the endpoint's own")
        return value

    @field_validator("storage_prefix")
    @classmethod
    def _check_prefix(cls, value: str) -> str:
        return value.strip("/")

    @model_validator(mode="after")
    def _check_sts(self) -> Settings:
        if self.storage_credentials != "sts":
            # Do not silently hand out the shared credentials if a role was configured.
            if self.storage_sts_role_arn:
                raise ValueError("STORAGE_STS_ROLE_ARN needs STORAGE_CREDENTIALS=sts")
            return self
        if not self.storage_sts_role_arn or not self.storage_bucket:
            raise ValueError("STORAGE_CREDENTIALS=sts needs STORAGE_BUCKET and STORAGE_STS_ROLE_ARN")
        if self.storage_sts_renew_seconds > self.storage_sts_duration * _MAX_RENEW_AGE:
            raise ValueError(
                "STORAGE_STS_RENEW_SECONDS must be at most 3/4 of STORAGE_STS_DURATION, to leave time for retries"
            )
        try:
            build_session_policy(
                self.storage_bucket, naming.key_prefix(self.storage_prefix, "n", "w"), self.storage_sts_role_arn
            )
        except ValueError as error:
            raise ValueError(f"STORAGE_BUCKET, STORAGE_PREFIX: {error}") from None
        return self

    @property
    def images(self) -> Images:
        """The default images of pods, for templates that name none."""
        environment: dict[str, str] = {}
        if self.storage_bucket:
            known = {
                "endpoint": self.storage_endpoint,
                "region": self.storage_region,
                "path_style": self.storage_path_style,
            }
            environment["SANDBOX_PRELOAD_STORAGE"] = json.dumps(known, separators=(",", ":"))
        if self.agent_reflection:
            environment["SANDBOX_REFLECTION"] = "1"
        if tracing := self.tracing_environment:
            environment |= {"SANDBOX_TRACING": "1", **tracing}
        return Images(self.agent_image, self.sandbox_image, tuple(environment.items()))

    @property
    def tracing_environment(self) -> dict[str, str]:
        """OpenTelemetry's environment variables. Empty if tracing is off."""
        if not self.tracing_endpoint:
            return {}
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.tracing_endpoint,
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": str(self.tracing_ratio),
        }

    @property
    def agents_need_dns(self) -> bool:
        """True if agents must resolve the host name of the storage endpoint or of the collector."""
        return (bool(self.storage_bucket) and _is_name(self.storage_endpoint)) or (
            bool(self.tracing_endpoint) and _is_name(self.tracing_endpoint)
        )


def _is_name(endpoint: str) -> bool:
    """Return True if an endpoint's host is a name. An empty endpoint stands for AWS, which is a name too."""
    try:
        ipaddress.ip_address(urlsplit(endpoint).hostname or "")
    except ValueError:
        return True
    return False


def load_settings(environment: Mapping[str, str]) -> Settings:
    """Return the settings. Unknown names `SANDBOX_OPERATOR_*` are refused, so that a typo does not go unnoticed.

    Raises:
        SettingsError: A variable is unknown, or its value is wrong.
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
        is_unknown = first["type"] == "extra_forbidden"
        message = "there is no such setting" if is_unknown else first["msg"].removeprefix("Value error, ")
        # The messages about several settings name these themselves, without the prefix of the first one.
        raise SettingsError(f"{PREFIX}{name}: {message}" if name else f"{PREFIX}{message}") from None
