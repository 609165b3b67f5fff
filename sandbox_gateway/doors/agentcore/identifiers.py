"""Translates identifiers of code interpreters to templates, and client tokens to names of sessions. Pure: no I/O.

AWS keeps a custom code interpreter as a resource, with an identifier of a name, `-` and ten characters. Here it is a
SandboxTemplate and a network mode. The ten characters are the mode's letter and nine of a digest. So nothing must be
stored, and every replica reads the same from an identifier.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import Final

from sandbox_client.errors import InvalidArgument, NotFound

SYSTEM: Final = "aws.codeinterpreter.v1"
"""The code interpreter that exists without being created: the default template."""
NETWORK_MODES: Final = {"PUBLIC": "public", "SANDBOX": "none"}
"""AWS's network modes, and the egress that each stands for. `VPC` has no counterpart."""
_MODE_LETTERS: Final = {"": "t", "PUBLIC": "p", "SANDBOX": "s"}
_DIGEST_LENGTH: Final = 9
_NAME: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9_]{0,47}")
_CUSTOM: Final = re.compile(rf"({_NAME.pattern})-([a-z])([a-z0-9]{{{_DIGEST_LENGTH}}})")
_TEMPLATE: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_SESSION_LENGTH: Final = 24


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A code interpreter.

    Attributes:
        identifier: Its identifier, as AWS writes it.
        template: The SandboxTemplate's name, or "" for the default.
        network_mode: `PUBLIC`, `SANDBOX`, or "" for the template's own.
    """

    identifier: str
    template: str = ""
    network_mode: str = ""

    @property
    def egress(self) -> str:
        """The egress that its sessions ask for, or "" for the template's own."""
        return NETWORK_MODES.get(self.network_mode, "")

    @property
    def name(self) -> str:
        """Its name, which may have letters, digits and underscores."""
        return "AgentCore_Code_Interpreter" if self.identifier == SYSTEM else self.template.replace("-", "_")

    @property
    def arn(self) -> str:
        """Its ARN. Region and account are placeholders, because there are none."""
        if self.identifier == SYSTEM:
            return f"arn:aws:bedrock-agentcore:local:aws:code-interpreter/{SYSTEM}"
        return f"arn:aws:bedrock-agentcore:local:000000000000:code-interpreter-custom/{self.identifier}"


def interpreter_of_template(template: str, network_mode: str = "") -> Interpreter:
    """Return the code interpreter that stands for a template.

    Args:
        template: A SandboxTemplate's name.
        network_mode: `PUBLIC`, `SANDBOX`, or "" for the template's own.
    """
    name = template.replace("-", "_")
    if not _NAME.fullmatch(name):
        # AWS's identifiers cannot hold this name. SDKs also send the template's own.
        return Interpreter(template, template)
    letter = _MODE_LETTERS[network_mode]
    return Interpreter(f"{name}-{letter}{_digest(name, letter)}", template, network_mode)


def read_interpreter(identifier: str) -> Interpreter:
    """Return the code interpreter that a request names.

    Args:
        identifier: `aws.codeinterpreter.v1`, what `interpreter_of_template` made, a SandboxTemplate's own name, or an
            ARN that ends with one of these.

    Raises:
        InvalidArgument: It cannot be the identifier of a code interpreter.
    """
    given = identifier.rpartition("/")[2] if identifier.startswith("arn:") else identifier
    if given == SYSTEM:
        return Interpreter(SYSTEM)
    if (custom := _CUSTOM.fullmatch(given)) and custom[3] == _digest(custom[1], custom[2]):
        mode = next((mode for mode, letter in _MODE_LETTERS.items() if letter == custom[2]), "")
        return Interpreter(given, template_of_name(custom[1]), mode)
    if _TEMPLATE.fullmatch(given):
        return Interpreter(given, given)
    message = f"{given[:100]!r} is not the identifier of a code interpreter: use {SYSTEM} or a SandboxTemplate's name"
    raise InvalidArgument(message, field="codeInterpreterIdentifier")


def template_of_name(name: str) -> str:
    """Return the SandboxTemplate that a code interpreter's name stands for: `my_tools` is the template `my-tools`.

    Raises:
        InvalidArgument: It cannot be the name of a code interpreter.
    """
    if not _NAME.fullmatch(name):
        message = f"{name[:100]!r} is not a name: use 1 to 48 letters, digits and _, and begin with a letter"
        raise InvalidArgument(message, field="name")
    return name.replace("_", "-").lower()


def session_id(caller: str, interpreter: str, client_token: str) -> str:
    """Return the id of a new session, of letters and digits. It is also the name of the SandboxSession.

    Args:
        caller: Who starts it.
        interpreter: Its code interpreter.
        client_token: A retried request has the same token, and thus starts the same session. "" for none.
    """
    if not client_token:
        client_token = secrets.token_hex()
    return "ci" + _encode(caller, interpreter, client_token)[:_SESSION_LENGTH]


def check_session_id(value: str | None, field: str = "sessionId") -> str:
    """Return a session's id.

    Raises:
        InvalidArgument: There is none.
        NotFound: No session can have that id.
    """
    if not value:
        raise InvalidArgument(f"{field} is missing: start a session, and give its id", field=field)
    if not _TEMPLATE.fullmatch(value):
        raise NotFound(f"there is no session {value[:100]!r}", reason="SESSION_NOT_FOUND", field=field)
    return value


def _digest(*parts: str) -> str:
    return _encode(*parts)[:_DIGEST_LENGTH]


def _encode(*parts: str) -> str:
    return base64.b32encode(hashlib.sha256("\0".join(parts).encode()).digest()).decode().lower().rstrip("=")
