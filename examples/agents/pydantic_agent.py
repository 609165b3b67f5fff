"""A pydantic-ai agent with the sandbox tools, over stdio.

pip install 'pydantic-ai-slim[mcp,anthropic]'
MODEL=anthropic:claude-sonnet-4-5 python examples/agents/pydantic_agent.py 'What is 2**0.5?'
"""

import asyncio
import os
import sys
from typing import Any

from fastmcp.client.transports import StdioTransport
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset


async def ask(model: Any, question: str) -> Any:
    # A call may take as long as the session's time limit.
    server = MCPToolset(
        StdioTransport("sandbox", ["mcp"]), include_instructions=True, init_timeout=60, read_timeout=330
    )
    async with Agent(model, toolsets=[server]) as agent:
        return await agent.run(question)


if __name__ == "__main__":
    print(asyncio.run(ask(os.environ["MODEL"], sys.argv[1])).output)
