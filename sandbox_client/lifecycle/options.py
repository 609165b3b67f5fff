"""The keyword options of a create: everything that a session of the cluster can set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict

from sandbox_client.options import CONNECT_DEFAULTS, ConnectOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_client.lifecycle.durations import Duration


class SessionOptions(TypedDict, total=False):
    """Settings of a new session in the cluster. None stands for the template's or the cluster's default.

    Attributes:
        template: The SandboxTemplate's name; `default` if None and `spec` names none.
        env: Environment variables of cells and commands.
        idle_timeout: Time without use until `on_idle` happens: seconds, a timedelta, or a text such as `15m`.
        lifetime: Longest time that a pod of the session lasts, in the same forms. `set_timeout` moves the end within
            it.
        on_idle: `suspend` keeps an idle session for later, `delete` does not. Both save its files.
        egress: Addresses that user code may connect to, at most those of the template.
        resources: The most that user code may use, such as `{"cpu": 2, "memory": "4Gi"}`, or
            `{"requests": {...}, "limits": {...}}`.
        workspace: Name of the workspace in object storage; the session's name if None. Sessions with the same
            workspace see the same files, one session after the other.
        keep_variables: Restore Python variables after a suspend, as far as they can be pickled.
        labels: Kubernetes labels of the session, to find it again with `list`.
        spec: Further fields of the SandboxSession's spec, such as `{"workspace": {"sync": "OnChange"}}`. A field that
            an argument sets as well is an error.
    """

    template: str | None
    env: Mapping[str, str] | None
    idle_timeout: Duration | None
    lifetime: Duration | None
    on_idle: Literal["suspend", "delete"] | None
    egress: Literal["none", "allowlist", "public"] | None
    resources: Mapping[str, Any] | None
    workspace: str | None
    keep_variables: bool | None
    labels: Mapping[str, str] | None
    spec: Mapping[str, Any] | None


class CreateOptions(SessionOptions, ConnectOptions, total=False):
    """Options of a create that also connects.

    Attributes:
        ephemeral: Delete the session when this sandbox is closed, or if it does not become Ready. If None, a session
            without a name is ephemeral.
    """

    ephemeral: bool | None


SESSION_DEFAULTS: Final = SessionOptions(
    template=None,
    env=None,
    idle_timeout=None,
    lifetime=None,
    on_idle=None,
    egress=None,
    resources=None,
    workspace=None,
    keep_variables=None,
    labels=None,
    spec=None,
)
CREATE_DEFAULTS: Final = CreateOptions(**SESSION_DEFAULTS, ephemeral=None, **CONNECT_DEFAULTS)
