"""Train a classifier with scikit-learn and report how good it is."""

import asyncio

from examples.patterns import require
from sandbox_client.tools import SandboxTools, local_sessions

TRAIN = """
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import accuracy_score, confusion_matrix
from sklearn.model_selection import train_test_split

flowers = load_iris()
learn_x, test_x, learn_y, test_y = train_test_split(
    flowers.data, flowers.target, test_size=0.3, random_state=7, stratify=flowers.target
)
model = RandomForestClassifier(n_estimators=50, random_state=7).fit(learn_x, learn_y)
"""

REPORT = """
found = model.predict(test_x)
print(f'accuracy {accuracy_score(test_y, found):.3f} of {len(test_y)}')
confusion_matrix(test_y, found).tolist()
"""


async def run(tools: SandboxTools) -> str:
    """Return the report."""
    trained = await tools.execute_code(TRAIN)
    assert trained.text == "(no output)", trained.text
    return (await tools.execute_code(REPORT)).text


async def main() -> None:
    require(sklearn="scikit-learn")
    async with SandboxTools(local_sessions()) as tools:
        print(await run(tools))


if __name__ == "__main__":
    asyncio.run(main())
