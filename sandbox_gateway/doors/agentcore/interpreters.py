"""The part of AgentCore's control plane that its SDK uses: code interpreters, which are SandboxTemplates here.

An administrator makes templates. So a client can ask for one by its name and a network mode, and look it up, but it
cannot change or delete one. Pure: no I/O.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn

from sandbox_client.errors import InvalidArgument, NotFound, NotSupported, Unauthenticated
from sandbox_client.tools.schemas import check_text, quote
from sandbox_gateway.doors.agentcore.identifiers import (
    NETWORK_MODES,
    SYSTEM,
    Interpreter,
    interpreter_of_template,
    read_interpreter,
    template_of_name,
)
from sandbox_gateway.doors.agentcore.requests import (
    next_token,
    read_object,
    read_page,
    read_token,
    refuse_template_fields,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox_gateway.backend import Caller

TYPES: Final = ("SYSTEM", "CUSTOM")
_CREATED: Final = "1970-01-01T00:00:00Z"
"""The time of creation. Templates have one too, but a gateway need not be allowed to read templates."""


def create(caller: Caller, body: bytes) -> dict[str, Any]:
    """Return the code interpreter of the template that a request names. Whether it exists shows the first session.

    Raises:
        InvalidArgument: A field is wrong.
        NotSupported: It asks for something that a template decides.
        NotFound: The caller may not use that template.
    """
    value = read_object(body)
    read_token(value.get("clientToken", ""))
    name = check_text(value.get("name", ""), "name")
    network = value.get("networkConfiguration")
    mode = network.get("networkMode") if isinstance(network, dict) else None
    refuse_template_fields(value)
    if mode == "VPC":
        message = "networkMode VPC needs AWS: use SANDBOX or PUBLIC, and narrow the egress in the SandboxTemplate"
        raise NotSupported(message, field="networkConfiguration.networkMode")
    if mode not in NETWORK_MODES:
        message = f"networkMode cannot be {quote(mode)}: choose one of {', '.join(NETWORK_MODES)}"
        raise InvalidArgument(message, field="networkConfiguration.networkMode")
    template = template_of_name(name)
    _check_allowed(caller, template, "name")
    return _summary(
        interpreter_of_template(template, mode), "codeInterpreterId", "codeInterpreterArn", "createdAt", "status"
    )


def get(caller: Caller, identifier: str) -> dict[str, Any]:
    """Return a code interpreter.

    Raises:
        InvalidArgument: The identifier is none.
        NotFound: The caller may not use its template.
    """
    interpreter = read_interpreter(identifier)
    _check_allowed(caller, interpreter.template, "codeInterpreterId")
    # A template's own egress is not one of the modes. The safest one is the closest.
    mode = interpreter.network_mode or "SANDBOX"
    return {**_summary(interpreter), "networkConfiguration": {"networkMode": mode}}


def list_page(caller: Caller, query: Mapping[str, str]) -> dict[str, Any]:
    """Return a page of the code interpreters: the system's, and those of the templates that the key names.

    Raises:
        InvalidArgument: A parameter is wrong.
    """
    page = read_page(query, TYPES, "type")
    found = [Interpreter(SYSTEM)] if page.status != "CUSTOM" else []
    if page.status != "SYSTEM":
        found += [interpreter_of_template(template) for template in caller.templates or ()]
    rest = sorted((each for each in found if each.identifier > page.after), key=lambda each: each.identifier)
    summaries = [_summary(each) for each in rest[: page.size]]
    if len(rest) > page.size:
        return {"codeInterpreterSummaries": summaries, "nextToken": next_token(rest[page.size - 1].identifier)}
    return {"codeInterpreterSummaries": summaries}


def refuse_delete(caller: Caller, identifier: str) -> NoReturn:
    """Refuse to delete a code interpreter.

    Raises:
        InvalidArgument: The identifier is none.
        NotFound: The caller may not use its template.
        Unauthenticated: Otherwise.
    """
    interpreter = read_interpreter(identifier)
    _check_allowed(caller, interpreter.template, "codeInterpreterId")
    message = f"{interpreter.identifier} is a SandboxTemplate, which only an administrator of the cluster can delete"
    raise Unauthenticated(message, reason="TEMPLATE_IS_SHARED", field="codeInterpreterId")


def _check_allowed(caller: Caller, template: str, field: str) -> None:
    if template and caller.templates is not None and template not in caller.templates:
        message = f"there is no SandboxTemplate {quote(template)} that this key may use"
        raise NotFound(message, reason="TemplateNotFound", field=field)


def _summary(interpreter: Interpreter, *members: str) -> dict[str, Any]:
    shown = {
        "codeInterpreterId": interpreter.identifier,
        "codeInterpreterArn": interpreter.arn,
        "name": interpreter.name,
        "status": "READY",
        "createdAt": _CREATED,
        "lastUpdatedAt": _CREATED,
    }
    return {key: value for key, value in shown.items() if not members or key in members}
