"""An in-memory agent for tests of code that uses the SDK. Needs the `agent` extra, for its certificates."""

from sandbox_testing.agent import FakeAgent, completed, error, make_certificates, output, result, started
from sandbox_testing.agent_processes import FakeProcess

__all__ = ["FakeAgent", "FakeProcess", "completed", "error", "make_certificates", "output", "result", "started"]
