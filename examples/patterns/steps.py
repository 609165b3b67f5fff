"""Make several calls that build on one another: clean, draw, export, download. Variables persist between them."""

import asyncio

from sandbox_client.tools import SandboxTools, ToolResult, local_sessions

CLEAN = """
import io
import pandas as pd

raw = 'day,value\\n1,4\\n2,\\n3,8\\n3,8\\n4,6\\n'
readings = pd.read_csv(io.StringIO(raw)).drop_duplicates()
readings['value'] = readings['value'].interpolate()
len(readings)
"""

DRAW = """
import matplotlib.pyplot as plt

plt.plot(readings['day'], readings['value'])
plt.savefig('readings.png')
float(readings['value'].mean())
"""

EXPORT = "readings.to_csv('readings.csv', index=False)"


async def run(tools: SandboxTools) -> list[ToolResult]:
    """Return the result of each call."""
    return [
        await tools.execute_code(CLEAN),
        await tools.execute_code(DRAW, output_filename="readings.png"),
        await tools.execute_code(EXPORT),
        await tools.file_operations("read", paths=["readings.csv"]),
        await tools.ci_push_to_workspace(["readings.csv"]),
        await tools.workspace_read("code-interpreter/readings.csv"),
    ]


async def main() -> None:
    async with SandboxTools(local_sessions()) as tools:
        for result in await run(tools):
            print(result.text)


if __name__ == "__main__":
    asyncio.run(main())
