"""All errors of the operator.

OperatorError
|-- SettingsError            an environment variable is wrong, so the process does not start
|-- SpecError                a resource has an invalid value; names the field
|-- NotLeadingError          a write was attempted without the lease
|-- Blocked                  a session cannot continue now; becomes a condition
|-- AgentError               an agent refused a call
|   `-- AgentUnreachableError    an agent did not answer
`-- ApiError                 the API server refused a call
    |-- NotFoundError, AlreadyExistsError, ConflictError, InvalidError, ForbiddenError, ExpiredError
    |-- AnswerTooLargeError  the answer has too many bytes to keep
    `-- UnavailableError     the API server did not answer, or asked to retry later
"""

from __future__ import annotations

from typing import Final


class OperatorError(Exception):
    """Base of the tree above."""


class SettingsError(OperatorError):
    """An environment variable is missing or wrong; the message names it."""


class SpecError(OperatorError):
    """A resource has an invalid value.

    Attributes:
        field: Path of the field, such as `spec.lifecycle.idleTimeout`.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


class NotLeadingError(OperatorError):
    """A write was attempted while this replica does not hold the lease."""


class Blocked(OperatorError):  # noqa: N818 - a state of a session, not a fault of the operator
    """A session cannot continue for a reason that its user or administrator can see and change.

    Attributes:
        reason: CamelCase reason of the condition Ready.
        failed: True if the phase becomes Failed, because the resource has to be changed. Otherwise the session waits.
        retry_after: Seconds until the next attempt.
    """

    def __init__(self, reason: str, message: str, *, failed: bool = False, retry_after: float = 5.0) -> None:
        super().__init__(message)
        self.reason = reason
        self.failed = failed
        self.retry_after = retry_after


class AgentError(OperatorError):
    """An agent answered a call with an error.

    Attributes:
        reason: The UPPER_SNAKE reason of docs/pod-contract.md, or the gRPC status code's name.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class AgentUnreachableError(AgentError):
    """An agent did not answer in time, or answered that it is not ready yet."""


class ApiError(OperatorError):
    """The API server answered with a status that is not a success.

    Attributes:
        status: HTTP status; 0 if there was no answer.
        reason: `reason` of the Status object, or "".
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class NotFoundError(ApiError):
    """404."""


class AlreadyExistsError(ApiError):
    """409 to a create."""


class ConflictError(ApiError):
    """409: the object has another resourceVersion or uid."""


class InvalidError(ApiError):
    """422 or 400: a value is not allowed, or the `test` of a JSON patch failed."""


class ExpiredError(ApiError):
    """410: the continue token of a list has expired."""


class ForbiddenError(ApiError):
    """403: RBAC, a quota, or an admission policy."""


class AnswerTooLargeError(ApiError):
    """The answer has more bytes than the operator keeps."""


class UnavailableError(ApiError):
    """No answer, 429 or 5xx: the write may or may not have happened.

    Attributes:
        retry_after: Seconds after which the server asked to retry, or None.
    """

    def __init__(self, status: int, reason: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(status, reason, message)
        self.retry_after = retry_after


def api_error(status: int, body: object, retry_after: float | None = None) -> ApiError:
    """Return the error for an answer of the API server. `body` is its Status object, if it sent one."""
    fields = body if isinstance(body, dict) else {}
    reason, message = str(fields.get("reason") or ""), str(fields.get("message") or f"HTTP status {status}")
    if status == 429 or status >= 500:  # noqa: PLR2004 - HTTP
        return UnavailableError(status, reason, message, retry_after)
    if status == 409 and reason == "AlreadyExists":  # noqa: PLR2004 - HTTP
        return AlreadyExistsError(status, reason, message)
    return _KINDS.get(status, ApiError)(status, reason, message)


_KINDS: Final = {
    400: InvalidError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: ExpiredError,
    422: InvalidError,
}
