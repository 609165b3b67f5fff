"""The calls that a scripted model makes, and what must come back, the same for each framework."""

CALLS = [
    ("execute_code", {"code": "kept = 41"}),
    ("execute_code", {"code": "print(kept + 1)"}),
    ("execute_code", {"code": "import matplotlib.pyplot as plt; plt.plot([1, 2]); plt.show()"}),
    ("execute_code", {"code": "print('x' * 100_000)"}),
]
ANSWER = "The answer is 42."


def check(answer, results):
    """Check what the framework passed to its model.

    Args:
        answer: The agent's answer.
        results: The text of each tool's result, as the model sees it.
    """
    assert ANSWER in answer, answer
    assert len(results) == len(CALLS), results
    # Variables persist, so each call reached the same session.
    assert "42" in results[1], results[1]
    assert "image" in results[2], results[2][:200]
    assert "characters left out" in results[3], results[3][:200]
    assert 30_000 < len(results[3]) < 40_000, len(results[3])
