"""Rules for every error message. Tables of errors (SDK, command line, tools, MCP) use them."""

import re

VERBS = r"""
add|ask|begin|call|change|check|choose|close|connect|copy|create|delete|empty|end|escape|export|fetch|free|give|go
import|increase|install|leave|let|link|list|look|lower|make|move|name|open|pass|pick|poll|put|pull|push|raise|read
remove|rename|reopen|repeat|replace|restart|restore|resume|resize|retry|run|save|search|see|select|send|set|shorten
show|split|start|stop|suspend|try|update|upgrade|use|wait|write
""".strip().replace("\n", "|")
ADVICE = re.compile(rf"(?:^|[:;.,(] (?:or |and |then |so )?|\bor |\band |\bthen )`?(?:{VERBS})\b", re.IGNORECASE)
FIELD_FIRST = re.compile(r"^`?[a-z_]+(\.[a-z_]+)*`?: ")
MIN_REASON = 3
"""Words that a message has at least beside the object and the advice."""


def faults(message: str, *names: str) -> list[str]:
    """Return what is wrong with a message: [] if it names each object, gives a reason, and says what to do."""
    found = [f"it does not name {name}" for name in names if name not in message]
    advice = ADVICE.search(message)
    if advice is None:
        found.append("it does not say what to do")
    reason = message[: advice.start()] if advice else message
    if len(reason.split()) < MIN_REASON:
        found.append("it gives no reason")
    if FIELD_FIRST.match(message):
        found.append("it begins with the name of a field, as if that were the subject")
    if "Traceback" in message or "\n\n" in message:
        found.append("it is not a sentence")
    return found
