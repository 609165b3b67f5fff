"""The schema of a SandboxTemplate, and of what it shares with a session. Pure."""

from __future__ import annotations

from typing import Final

from sandbox_operator.api.schema import (
    Schema,
    array,
    boolean,
    choice,
    duration,
    fields,
    integer,
    mapping,
    quantity,
    rules,
    text,
)
from sandbox_operator.api.values import ENV_NAME_PATTERN

_ENV_NAME: Final = text("Its name.", longest=256, pattern=ENV_NAME_PATTERN)
_ENV_VALUE: Final = text("Its value.", longest=32768)
_KINDS: Final = ("cpu", "memory", "ephemeral-storage")

ENV: Final = fields(
    {
        "name": _ENV_NAME,
        "value": _ENV_VALUE,
        "secretKeyRef": fields(
            {"name": text("A Secret in the same namespace."), "key": text("A key in it.")}, required=("name", "key")
        ),
    },
    required=("name",),
    **rules(("!(has(self.value) && has(self.secretKeyRef))", "set value or secretKeyRef, not both")),
)
_AMOUNTS: Final = fields({kind: quantity() for kind in _KINDS})
RESOURCES: Final = fields(
    {"requests": _AMOUNTS, "limits": _AMOUNTS}, "Requests and limits of the container in which user code runs."
)

_SELECTOR: Final = fields(
    {
        "matchLabels": mapping(text()),
        "matchExpressions": array(
            fields({"key": text(), "operator": text(longest=32), "values": array(text())}, required=("key", "operator"))
        ),
    }
)
_PORT: Final = fields(
    {
        "protocol": choice("TCP", "UDP", "SCTP", default="TCP"),
        "port": {"type": "integer", "format": "int32", "minimum": 1, "maximum": 65535},
        "endPort": {"type": "integer", "format": "int32", "minimum": 1, "maximum": 65535},
    },
    required=("port",),
)
_EGRESS: Final = fields(
    {
        "mode": choice("None", "Allowlist", "Public", description="The widest, and the default.", default="None"),
        "allow": array(
            fields({"cidr": text(longest=64), "ports": array(_PORT)}, required=("cidr",)),
            "What Allowlist contains. Private and link-local addresses are never allowed.",
        ),
    },
    "Where user code may connect to.",
    default={},
)
_TOLERATION: Final = fields(
    {
        "key": text(),
        "operator": choice("Exists", "Equal"),
        "value": text(),
        "effect": choice("NoSchedule", "PreferNoSchedule", "NoExecute"),
        "tolerationSeconds": integer(),
    }
)
_PEER: Final = fields({"podSelector": _SELECTOR, "namespaceSelector": _SELECTOR})
_PULL_SECRET: Final = fields({"name": text()}, required=("name",))
_LIMITS: Final = fields(
    {
        "executionTimeout": duration("The longest an execution or command may take."),
        "outputBytes": integer("Output of one execution that is kept.", minimum=0),
        "processes": integer(minimum=0),
        "fileBytes": integer("Size of one file.", minimum=0),
    },
    "Limits that the runtime enforces; the agent's defaults where not set.",
)

TEMPLATE_SPEC: Final[Schema] = fields(
    {
        "image": text("Image in which user code runs; default: the operator's setting.", longest=1024),
        "agentImage": text("Image of the agent; default: the operator's setting.", longest=1024),
        "imagePullPolicy": choice("Always", "IfNotPresent", "Never", default="IfNotPresent"),
        "imagePullSecrets": array(_PULL_SECRET),
        "resources": fields(
            {
                "default": RESOURCES,
                "maximum": {
                    **_AMOUNTS,
                    "description": "The most a session may ask for. Not set: sessions may not choose.",
                },
            }
        ),
        "runtimeClassName": text("A RuntimeClass, such as one for gVisor or Kata."),
        "hostUsers": boolean("false: a user namespace for each pod, where node and runtime support it."),
        "nodeSelector": mapping(text()),
        "tolerations": array(_TOLERATION),
        "egress": _EGRESS,
        "ingressFrom": array(
            _PEER, "More clients that may reach the gRPC port of sessions, and of pods that wait for one."
        ),
        "env": fields(
            {
                "defaults": array(fields({"name": _ENV_NAME, "value": _ENV_VALUE}, required=("name",)), longest=256),
                "forbidden": array(text(longest=256), "Patterns of names that sessions may not set."),
                "allowedSecrets": array(
                    text(), "Patterns of Secrets' names that sessions may refer to; default: all of the namespace."
                ),
            },
            "The environment of all sessions, and what they may add.",
        ),
        "languages": array(choice("python", "javascript", "typescript"), "Allowed languages; empty: all.", longest=8),
        "limits": _LIMITS,
        "volumes": fields(
            {"workspace": quantity(), "home": quantity(), "tmp": quantity()},
            "Sizes of the folders user code writes to.",
        ),
    }
)
"""Everything an administrator decides: no field for capabilities, volumes, service accounts or more containers."""
