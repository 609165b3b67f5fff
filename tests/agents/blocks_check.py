"""Checks with the libraries of the models' APIs that they accept the blocks of `to_content` unchanged."""

import base64
import importlib.metadata
import sys

from anthropic.types import ToolResultBlockParam
from langchain_core.messages import ToolMessage
from langchain_core.messages.utils import convert_to_openai_messages
from openai.types.responses.response_input_item_param import FunctionCallOutput
from pydantic import ConfigDict, TypeAdapter

from sandbox_client.tools import Image, ToolResult

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
result = ToolResult("text", (Image("png", PNG), Image("jpeg", b"\xff\xd8\xff")))
strict = ConfigDict(extra="forbid")


def validate(type_, value):
    type_.__pydantic_config__ = strict
    adapter = TypeAdapter(type_)
    checked = adapter.validate_python(value)
    # Some fields are iterables, which pydantic checks when they are read.
    return {
        key: list(each) if hasattr(each, "__next__") or key in ("content", "output") else each
        for key, each in checked.items()
    }


blocks = result.to_content("anthropic")
validate(ToolResultBlockParam, {"type": "tool_result", "tool_use_id": "t", "content": blocks})

output = result.to_content("openai")
validate(FunctionCallOutput, {"type": "function_call_output", "call_id": "c", "output": output})

message = ToolMessage(content=result.to_content("langchain"), tool_call_id="c")
assert [block["type"] for block in message.content_blocks] == ["text", "image", "image"], message.content_blocks
assert message.content_blocks[1]["base64"] == base64.b64encode(PNG).decode()
(converted,) = convert_to_openai_messages([message])
assert converted["content"][1]["image_url"]["url"].startswith("data:image/png;base64,"), converted

if importlib.metadata.version("mcp").startswith("1."):
    from mcp.types import CallToolResult
else:
    from mcp_types import CallToolResult
parsed = CallToolResult.model_validate({"content": result.to_content("mcp")})
assert [block.type for block in parsed.content] == ["text", "image", "image"]

for broken in ({"type": "image", "source": {"type": "base64", "data": "x"}}, {"type": "picture"}):
    try:
        validate(ToolResultBlockParam, {"type": "tool_result", "tool_use_id": "t", "content": [broken]})
    except ValueError:
        continue
    raise AssertionError(f"this check accepts {broken}")
versions = [f"{name} {importlib.metadata.version(name)}" for name in ("anthropic", "openai", "langchain-core", "mcp")]
sys.stdout.write(f"blocks: accepted by {', '.join(versions)}\n")
