"""Errors in AWS's own form, and the one table that maps ours to them. Pure: no I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sandbox_client.errors import (
    Conflict,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    NotSupported,
    ResourceExhausted,
    SandboxError,
    Unauthenticated,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class ErrorForm:
    """An error as an AWS SDK reads it.

    Attributes:
        code: The exception's name, such as `ValidationException`.
        status: The HTTP status.
        message: A sentence for people.
        more: Further members of the exception.
    """

    code: str
    status: int
    message: str
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def body(self) -> dict[str, Any]:
        """The members of the exception. The service's model demands a message that is not empty."""
        return {"message": self.message or self.code, **self.more}

    @property
    def event_type(self) -> str:
        """The name of the exception in an event stream, such as `validationException`."""
        return self.code[0].lower() + self.code[1:]


ACCESS_DENIED: Final = ("AccessDeniedException", 403)
CONFLICT: Final = ("ConflictException", 409)
INTERNAL: Final = ("InternalServerException", 500)
NOT_FOUND: Final = ("ResourceNotFoundException", 404)
QUOTA: Final = ("ServiceQuotaExceededException", 402)
THROTTLED: Final = ("ThrottlingException", 429)
VALIDATION: Final = ("ValidationException", 400)
_BY_CLASS: Final[tuple[tuple[type[SandboxError], tuple[str, int]], ...]] = (
    (InvalidArgument, VALIDATION),
    (NotSupported, VALIDATION),
    (NotFound, NOT_FOUND),
    (Conflict, CONFLICT),
    (FailedPrecondition, CONFLICT),
    (Unauthenticated, ACCESS_DENIED),
    (ResourceExhausted, QUOTA),
)
_BY_REASON: Final = {
    "TOO_MANY_REQUESTS": THROTTLED,
    "TOO_MANY_FAILURES": THROTTLED,
    "TemplateNotFound": NOT_FOUND,
    "IDEMPOTENT_MISMATCH": VALIDATION,
}
_VALIDATION_REASONS: Final = {
    "CANNOT_PARSE": "CannotParse",
    "IDEMPOTENT_MISMATCH": "IdempotentParameterMismatchException",
}


def error_form(error: SandboxError) -> ErrorForm:
    """Return AWS's form of an error."""
    code, status = _BY_REASON.get(error.reason) or next(
        (form for class_, form in _BY_CLASS if isinstance(error, class_)), INTERNAL
    )
    more: dict[str, Any] = {}
    if (code, status) == VALIDATION:
        more["reason"] = _VALIDATION_REASONS.get(error.reason, "FieldValidationFailed")
        if error.field:
            more["fieldList"] = [{"name": error.field, "message": error.message}]
    return ErrorForm(code, status, error.message, more)
