"""Draw a dashboard. The call returns the picture and saves it to the workspace."""

import asyncio
from pathlib import Path

from sandbox_client.tools import SandboxTools, ToolResult, local_sessions

DASHBOARD = """
import matplotlib
matplotlib.use('Agg')
import matplotlib.pyplot as plt

fig, axes = plt.subplots(2, 2, figsize=(10, 8))
axes[0, 0].bar(['Q1', 'Q2', 'Q3', 'Q4'], [120, 150, 180, 210])
axes[0, 0].set_title('Revenue')
axes[0, 1].plot(range(10), [n * n for n in range(10)])
axes[0, 1].set_title('Trend')
axes[1, 0].pie([35, 30, 20, 15], labels=list('ABCD'), autopct='%.0f%%')
axes[1, 0].set_title('Share')
axes[1, 1].scatter(range(10), [3 * n + n % 3 for n in range(10)])
axes[1, 1].set_title('Correlation')
fig.tight_layout()
fig.savefig('dashboard.png', dpi=120)
print('drawn')
"""


async def run(tools: SandboxTools) -> ToolResult:
    """Return the result with the picture."""
    return await tools.execute_code(DASHBOARD, output_filename="dashboard.png")


async def main() -> None:
    async with SandboxTools(local_sessions()) as tools:
        result = await run(tools)
        print(result.text)
        Path("dashboard.png").write_bytes(result.images[0].data)  # noqa: ASYNC240 - a script


if __name__ == "__main__":
    asyncio.run(main())
