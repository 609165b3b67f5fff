"""Seven tools with which a language model uses a sandbox, for any agent framework.

    async with SandboxTools(local_sessions()) as tools:
        for spec in await tools.specs():
            register(spec.name, spec.description, spec.schema)
        result = await tools.call("execute_code", {"code": "print(6 * 7)"})
        blocks = result.to_content("anthropic")

`toolset` has the tools, `sessions` keeps their session. `facts` says what a session can do, `limits` and `pictures`
bound what a model gets. A tool never raises for a failure of the sandbox or a mistake of the model: both become
results.
"""

from sandbox_client.tools.facts import SessionFacts
from sandbox_client.tools.openers.cluster import cluster_sessions
from sandbox_client.tools.openers.local import local_sessions
from sandbox_client.tools.results import Image, ToolResult
from sandbox_client.tools.schemas import TOOL_SPECS, ToolSpec
from sandbox_client.tools.sync import BlockingSandboxTools
from sandbox_client.tools.toolset import SandboxTools

__all__ = [
    "TOOL_SPECS",
    "BlockingSandboxTools",
    "Image",
    "SandboxTools",
    "SessionFacts",
    "ToolResult",
    "ToolSpec",
    "cluster_sessions",
    "local_sessions",
]
