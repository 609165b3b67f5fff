"""The seven tools that a language model sees, over a session, for any agent framework.

    async with SandboxTools(local_sessions()) as tools:
        for spec in TOOL_SPECS:
            register(spec.name, spec.description, spec.schema)
        result = await tools.call("execute_code", {"code": "print(6 * 7)"})
        print(result.text)

`results` and `specs` are pure; `sessions` keeps the session; `toolset` has the tools. Nothing here raises for what the
sandbox or the model did: failures are results.
"""

from sandbox_client.tools.results import Image, ToolResult
from sandbox_client.tools.schemas import TOOL_SPECS, ToolSpec
from sandbox_client.tools.sessions import cluster_sessions, local_sessions
from sandbox_client.tools.sync import BlockingSandboxTools
from sandbox_client.tools.toolset import SandboxTools

__all__ = [
    "TOOL_SPECS",
    "BlockingSandboxTools",
    "Image",
    "SandboxTools",
    "ToolResult",
    "ToolSpec",
    "cluster_sessions",
    "local_sessions",
]
