"""The durations, quantities and times of the custom resources, with values that each must take and refuse."""

DURATION = "must be between 1s and 720h, such as 90s, 15m or 1h30m"
MOMENT = "must be an RFC 3339 time such as 2030-01-31T18:00:00Z"
SIZE = "must be between 1 and 1000Ti, such as 512Mi or 2Gi"
_BYTES = "must be between 0 and 1000Ti, such as 512Mi or 2Gi"
_CORES = "must be between 0 and 10k, such as 500m or 2"
_SOME_CORES = "must be between 1m and 10k, such as 500m or 2"
_LONG = "9" * 40

BAD: dict[str, list[object]] = {
    DURATION: ["", "1d", "0.5s", "-5s", "720h1s", "999999999999h", _LONG + "h", "1h 30m", "\u0661h", "720h\n"],
    MOMENT: [
        *("", "nonsense", "2030-01-31", "2030-02-31T18:00:00Z", "2030-01-31T18:00:00", "2030-01-31T18:00:00+99:99"),
        *("2030-01-31T18:00:00ZTgarbage", "2030-01-31T18:00:00x5Z", "9999-12-31T23:59:59-14:00"),
    ],
    SIZE: ["", "-1", -1, 0, "0", "0Gi", "nonsense", "1001Ti", _LONG, 2**63 - 1, "1Gi\n"],
    _BYTES: ["", "-1", -1, "nonsense", "1001Ti", _LONG, 2**63 - 1],
    _CORES: ["", "-1", -1, "nonsense", "11k", _LONG, 2**63 - 1],
    _SOME_CORES: ["", "-1", -1, 0, "0", "0m", "0.0001", "nonsense", "11k", _LONG, 2**63 - 1],
}
GOOD: dict[str, list[object]] = {
    DURATION: ["1s", "1000ms", "1h30m", "720h", "0.5h"],
    MOMENT: ["2030-01-31T18:00:00Z", "2030-01-31t18:00:00.123z", "2030-01-31T18:00:00+02:00"],
    SIZE: [1, "1", "512Mi", "1e9", "1000Ti"],
    _BYTES: [0, "0", "512Mi", "1000Ti"],
    _CORES: [0, "0", 2, "1m", "10k"],
    _SOME_CORES: [1, "1m", "0.5", "10k"],
}


def _amounts(kind: str, *path: str, zero: bool) -> list[tuple[str, tuple[str | int, ...], str]]:
    cores, size = (_CORES, _BYTES) if zero else (_SOME_CORES, SIZE)
    return [
        (kind, (*path, name), message)
        for name, message in (("cpu", cores), ("memory", size), ("ephemeral-storage", size))
    ]


FIELDS: list[tuple[str, tuple[str | int, ...], str]] = [
    *(("SandboxSession", ("lifecycle", name), DURATION) for name in ("idleTimeout", "maxLifetime")),
    *(("SandboxSession", ("lifecycle", name), DURATION) for name in ("ttlAfterSuspended", "ttlAfterFinished")),
    ("SandboxSession", ("lifecycle", "expiresAt"), MOMENT),
    *_amounts("SandboxSession", "resources", "requests", zero=True),
    *_amounts("SandboxSession", "resources", "limits", zero=False),
    ("SandboxTemplate", ("limits", "executionTimeout"), DURATION),
    *(("SandboxTemplate", ("lifecycle", name), DURATION) for name in ("maxLifetime", "endDeadline")),
    *_amounts("SandboxTemplate", "resources", "default", "requests", zero=True),
    *_amounts("SandboxTemplate", "resources", "default", "limits", zero=False),
    *_amounts("SandboxTemplate", "resources", "maximum", zero=True),
    *(("SandboxTemplate", ("volumes", name), SIZE) for name in ("workspace", "home", "tmp")),
    ("SandboxTemplate", ("mounts", 0, "emptyDir", "sizeLimit"), SIZE),
]
"""Kind, path below `spec`, and the message. 0 in a path is the first item of a list."""


def build_spec(path: tuple[str | int, ...], value: object) -> dict[str, object]:
    """Return a spec that is valid but for the value at this path."""
    if path[:1] == ("mounts",):
        return {"mounts": [{"name": "m", "mountPath": "/m", "emptyDir": {"sizeLimit": value}}]}
    for part in reversed(path):
        value = {part: value}
    return value  # type: ignore[return-value]
