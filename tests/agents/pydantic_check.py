"""Runs examples/agents/pydantic_agent.py with a scripted model."""

import asyncio
import sys

from calls import ANSWER, CALLS, check
from pydantic_agent import ask
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import FunctionModel

seen = {}


def reply(messages, info):
    assert len(info.function_tools) == 7, info.function_tools
    seen["instructions"] = info.instructions or ""
    step = sum(isinstance(message, ModelResponse) for message in messages)
    if step < len(CALLS):
        return ModelResponse(parts=[ToolCallPart(*CALLS[step])])
    return ModelResponse(parts=[TextPart(ANSWER)])


result = asyncio.run(ask(FunctionModel(reply), "What is 41 + 1?"))
assert "Nothing is isolated" in seen["instructions"], seen
returned = [
    str(part.content) for message in result.all_messages() for part in message.parts if part.part_kind == "tool-return"
]
check(result.output, returned)
sys.stdout.write(f"pydantic-ai: {len(returned)} calls\n")
