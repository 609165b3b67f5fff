"""Uses the seven tools in an agent's loop: register them, call them as a model does, return the results.

Run it with `python examples/agent_tools.py`. It needs no cluster.
"""

import asyncio

from sandbox_client.tools import SandboxTools, local_sessions

PLOT = """
import matplotlib
matplotlib.use('Agg')
import matplotlib.pyplot as plt
plt.plot([x * x for x in values])
plt.savefig('squares.png')
print('drawn')
"""

# The calls that a model would make, one after the other.
CALLS = [
    ("execute_code", {"code": "values = list(range(10))\nprint(sum(values))"}),
    ("execute_code", {"code": PLOT, "output_filename": "squares.png"}),
    ("execute_code", {"code": "enum Unit { Metre = 1 }; console.log(Unit[1])", "language": "typescript"}),
    ("execute_code", {"code": "1 / 0"}),
    ("execute_command", {"command": "python --version && ls"}),
    ("file_operations", {"operation": "write", "content": [{"path": "notes/todo.md", "text": "# To do\n"}]}),
    ("ci_push_to_workspace", {"paths": ["notes"]}),
    ("workspace_list", {"path": "code-interpreter/"}),
    ("workspace_read", {"path": "code-interpreter/notes/todo.md"}),
    ("execute_code", {"code": "puts 1", "language": "ruby"}),
]


async def main() -> None:
    # In a cluster: SandboxTools(cluster_sessions("my-session")).
    async with SandboxTools(local_sessions()) as tools:
        for spec in await tools.specs():
            # Frameworks need the name, the description and the schema. The description states the session's facts.
            print(f"{spec.name}({', '.join(spec.schema['properties'])})")

        for name, arguments in CALLS:
            result = await tools.call(name, arguments)
            print(f"\n> {name}", "(error)" if result.is_error else "")
            for block in result.to_content("anthropic"):
                # The blocks for the model: text, and pictures in base64.
                print(block["text"].rstrip() if block["type"] == "text" else f"<{block['source']['media_type']}>")


if __name__ == "__main__":
    asyncio.run(main())
