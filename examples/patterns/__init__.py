"""Six typical uses of a code interpreter by an agent, each a separate program: `python -m examples.patterns.charts`.

They need the extra `examples`. `tests/integration/test_patterns.py` runs them and checks the numbers.
"""
