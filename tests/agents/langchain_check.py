"""Runs examples/agents/langchain_agent.py with a scripted model."""

import asyncio
import subprocess
import sys

from calls import ANSWER, CALLS, check
from langchain_agent import ask
from langchain_core.language_models.fake_chat_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage


class ScriptedModel(FakeMessagesListChatModel):
    def bind_tools(self, tools, **_options):
        assert len(tools) == 7, tools
        return self


script = [
    AIMessage("", tool_calls=[{"name": name, "args": arguments, "id": f"call{number}"}])
    for number, (name, arguments) in enumerate(CALLS)
]
model = ScriptedModel(responses=[*script, AIMessage(ANSWER)])
with subprocess.Popen(["sandbox", "mcp", "--http", "0"], stderr=subprocess.PIPE, text=True) as server:
    try:
        url = next(line.split()[-1] for line in server.stderr if "listening on" in line)
        messages = asyncio.run(ask(model, "What is 41 + 1?", url))
    finally:
        server.terminate()
check(messages[-1].text, [str(message.content) for message in messages if message.type == "tool"])
sys.stdout.write(f"langchain: {len(messages)} messages\n")
