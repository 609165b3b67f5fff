"""A LangChain agent with the sandbox tools, over HTTP.

LangChain's stdio adapter starts a server for each call, which loses the variables. So start one server first:

    sandbox mcp --http 127.0.0.1:8765
    pip install langchain langchain-mcp-adapters langchain-anthropic
    MODEL=anthropic:claude-sonnet-4-5 python examples/agents/langchain_agent.py 'What is 2**0.5?'
"""

import asyncio
import os
import sys
from typing import Any

from langchain.agents import create_agent
from langchain_mcp_adapters.client import MultiServerMCPClient


async def ask(model: Any, question: str, url: str = "http://127.0.0.1:8765/mcp") -> list[Any]:
    client = MultiServerMCPClient({"sandbox": {"transport": "streamable_http", "url": url}})
    agent = create_agent(model, await client.get_tools())
    return (await agent.ainvoke({"messages": [("user", question)]}))["messages"]


if __name__ == "__main__":
    print(asyncio.run(ask(os.environ["MODEL"], sys.argv[1]))[-1].text)
