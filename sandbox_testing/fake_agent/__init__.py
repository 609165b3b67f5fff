"""An agent in this process, for tests of code that uses the SDK: real gRPC over TLS, with scripted answers.

    async with FakeAgent() as agent, AsyncSandbox(agent.endpoint) as sandbox:
        agent.script("1 + 1", [result({"text/plain": b"2"}, is_main=True), completed()])
        assert (await sandbox.run_code("1 + 1")).text == "2"

Files and stored files are dictionaries. `refuse` and `break_after` inject faults.
"""

from sandbox_testing.fake_agent.agent import FakeAgent
from sandbox_testing.fake_agent.certificates import make_certificates
from sandbox_testing.fake_agent.events import completed, error, output, result, started
from sandbox_testing.fake_agent.processes import FakeProcess

__all__ = ["FakeAgent", "FakeProcess", "completed", "error", "make_certificates", "output", "result", "started"]
