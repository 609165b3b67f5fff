"""A Strands agent with the sandbox tools, over stdio.

pip install strands-agents
MODEL=us.anthropic.claude-sonnet-4-5-20250929-v1:0 python examples/agents/strands_agent.py 'What is 2**0.5?'
"""

import os
import sys
from typing import Any

from mcp import StdioServerParameters
from mcp.client.stdio import stdio_client
from strands import Agent
from strands.tools.mcp import MCPClient


def ask(model: Any, question: str) -> tuple[Any, list[Any]]:
    server = MCPClient(lambda: stdio_client(StdioServerParameters(command="sandbox", args=["mcp"])))
    with server:
        agent = Agent(model=model, tools=server.list_tools_sync())
        return agent(question), agent.messages


if __name__ == "__main__":
    print(ask(os.environ["MODEL"], sys.argv[1])[0])
