"""Analyse a table: load it once, then answer two questions about it in later calls."""

import asyncio

from sandbox_client.tools import SandboxTools, local_sessions

LOAD = """
import pandas as pd

days = pd.date_range('2024-01-01', periods=100)
sales = pd.DataFrame({
    'revenue': [1000 + 10 * (n % 7) for n in range(100)],
    'costs': [700 + 5 * (n % 5) for n in range(100)],
}, index=days)
sales['profit'] = sales['revenue'] - sales['costs']
"""

SUMMARY = """
print(f"Total profit: {sales['profit'].sum():,.0f}")
print(f"Margin: {sales['profit'].sum() / sales['revenue'].sum():.1%}")
"""

BY_MONTH = "sales.resample('MS')['profit'].sum().to_dict()"


async def run(tools: SandboxTools) -> list[str]:
    """Return the result of each call as text."""
    return [(await tools.execute_code(code)).text for code in (LOAD, SUMMARY, BY_MONTH)]


async def main() -> None:
    async with SandboxTools(local_sessions()) as tools:
        print("\n".join(await run(tools)))


if __name__ == "__main__":
    asyncio.run(main())
