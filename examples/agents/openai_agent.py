"""An agent of the OpenAI Agents SDK with the sandbox tools, over stdio.

pip install openai-agents
MODEL=gpt-5 python examples/agents/openai_agent.py 'What is 2**0.5?'
"""

import asyncio
import os
import sys
from typing import Any

from agents import Agent, Runner
from agents.mcp import MCPServerStdio


async def ask(model: Any, question: str) -> Any:
    params = {"command": "sandbox", "args": ["mcp"]}
    # A call may take as long as the session's time limit.
    async with MCPServerStdio(params, client_session_timeout_seconds=330, cache_tools_list=True) as server:
        return await Runner.run(Agent("analyst", model=model, mcp_servers=[server]), question)


if __name__ == "__main__":
    print(asyncio.run(ask(os.environ["MODEL"], sys.argv[1])).final_output)
