"""Query a DataFrame with SQL in DuckDB, and keep the result as a file."""

import asyncio

from examples.patterns import require
from sandbox_client.tools import SandboxTools, local_sessions

QUERY = """
import duckdb
import pandas as pd

orders = pd.DataFrame({
    'customer': [f'customer-{n % 20}' for n in range(100)],
    'amount': [50 + 3.5 * n for n in range(100)],
})
best = duckdb.sql('''
    SELECT customer, count(*) AS orders, sum(amount) AS total
    FROM orders GROUP BY customer HAVING count(*) >= 3
    ORDER BY total DESC LIMIT 3
''').df()
best.to_csv('best.csv', index=False)
"""


async def run(tools: SandboxTools) -> str:
    """Return the file's text."""
    await tools.execute_code(QUERY)
    result = await tools.file_operations("read", paths=["best.csv"])
    return str(result.value["files"][0]["content"]) if isinstance(result.value, dict) else result.text


async def main() -> None:
    require(duckdb="duckdb")
    async with SandboxTools(local_sessions()) as tools:
        print(await run(tools))


if __name__ == "__main__":
    asyncio.run(main())
