"""Writes logs as JSON lines to standard error. Each call chooses its fields: no object, header or Secret is logged.

The agent's logs have the same fields: time, level (lower case), logger, message, exception. python-json-logger would
also write every attribute that kopf adds to a record, unless each is excluded by name.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final

_EXTRA_FIELDS: Final = ("session", "key", "pod", "milliseconds")


class JsonFormatter(logging.Formatter):
    """A formatter that writes one JSON object per line, including a few known `extra` fields."""

    def format(self, record: logging.LogRecord) -> str:  # noqa: D102 - inherited
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: getattr(record, name) for name in _EXTRA_FIELDS if hasattr(record, name)}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure(level: str) -> None:
    """Send all logs of this process to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # They log every event and every request.
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    # They would log the token service's answers, which contain a workspace's secret key.
    for name in ("botocore", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)
