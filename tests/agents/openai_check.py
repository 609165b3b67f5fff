"""Runs examples/agents/openai_agent.py with a scripted model."""

import asyncio
import json
import sys

from agents import Model, ModelResponse, Usage, set_tracing_disabled
from calls import ANSWER, CALLS, check
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText
from openai_agent import ask


class ScriptedModel(Model):
    def __init__(self):
        self.step = 0

    async def get_response(self, *, tools, **_options):
        assert len(tools) == 7, tools
        step, self.step = self.step, self.step + 1
        if step < len(CALLS):
            name, arguments = CALLS[step]
            output = ResponseFunctionToolCall(
                type="function_call", call_id=f"call{step}", name=name, arguments=json.dumps(arguments)
            )
        else:
            content = [ResponseOutputText(type="output_text", text=ANSWER, annotations=[])]
            output = ResponseOutputMessage(
                id="m", type="message", role="assistant", status="completed", content=content
            )
        return ModelResponse(output=[output], usage=Usage(), response_id=None)

    def stream_response(self, *_args, **_options):
        raise NotImplementedError


set_tracing_disabled(True)
result = asyncio.run(ask(ScriptedModel(), "What is 41 + 1?"))
items = [item for item in result.to_input_list() if item.get("type") == "function_call_output"]
check(result.final_output, [str(item["output"]) for item in items])
sys.stdout.write(f"openai: {len(items)} calls\n")
