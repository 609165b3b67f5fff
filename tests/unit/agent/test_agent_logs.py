"""The agent's and the operator's log lines have the same fields."""

import json
import logging

from sandbox_agent.server import logs as agent_logs
from sandbox_operator.app import logs as operator_logs


def make_record(**extra):
    failure = (ValueError, ValueError("broken"), None)
    return logging.getLogger("sandbox").makeRecord(
        "sandbox", logging.WARNING, __file__, 1, "%s failed", ("bind",), failure, extra=extra
    )


def test_agent_and_operator_write_the_same_line():
    record = make_record(session="team/analysis")
    record.created = 0.25
    line = json.loads(agent_logs.JsonFormatter().format(record))
    assert line == json.loads(operator_logs.JsonFormatter().format(record))
    assert line.pop("exception").endswith("ValueError: broken")
    assert line == {
        "time": "1970-01-01T00:00:00.250+00:00",
        "level": "warning",
        "logger": "sandbox",
        "message": "bind failed",
        "session": "team/analysis",
    }


def test_the_operator_writes_only_extra_fields_that_it_knows():
    record = make_record(key="Session/team/analysis", pod="team/blank", k8s_ref={"secret": "value"})
    line = json.loads(operator_logs.JsonFormatter().format(record))
    assert (line["key"], line["pod"]) == ("Session/team/analysis", "team/blank")
    assert "k8s_ref" not in line
