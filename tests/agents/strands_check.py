"""Runs examples/agents/strands_agent.py with a scripted model."""

import json
import sys

from calls import ANSWER, CALLS, check
from strands.models import Model
from strands_agent import ask


class ScriptedModel(Model):
    def __init__(self):
        self.step = 0

    def update_config(self, **_config):
        pass

    def get_config(self):
        return {}

    def structured_output(self, *_args, **_options):
        raise NotImplementedError

    async def stream(self, _messages, tool_specs=None, *_args, **_options):
        assert len(tool_specs) == 7, tool_specs
        step, self.step = self.step, self.step + 1
        yield {"messageStart": {"role": "assistant"}}
        if step < len(CALLS):
            name, arguments = CALLS[step]
            yield {"contentBlockStart": {"start": {"toolUse": {"name": name, "toolUseId": f"call{step}"}}}}
            yield {"contentBlockDelta": {"delta": {"toolUse": {"input": json.dumps(arguments)}}}}
        else:
            yield {"contentBlockStart": {"start": {}}}
            yield {"contentBlockDelta": {"delta": {"text": ANSWER}}}
        yield {"contentBlockStop": {}}
        yield {"messageStop": {"stopReason": "tool_use" if step < len(CALLS) else "end_turn"}}


result, messages = ask(ScriptedModel(), "What is 41 + 1?")
results = [
    str(block["toolResult"]["content"]) for message in messages for block in message["content"] if "toolResult" in block
]
check(str(result), results)
sys.stdout.write(f"strands: {len(results)} calls\n")
