"""An in-memory agent for tests of code that uses the SDK. It needs the `agent` extra, for its certificates."""

from sandbox_testing.fake_agent import (
    FakeAgent,
    FakeProcess,
    completed,
    error,
    make_certificates,
    output,
    result,
    started,
)

__all__ = ["FakeAgent", "FakeProcess", "completed", "error", "make_certificates", "output", "result", "started"]
