"""Six things that agents do with a code interpreter, each a program of its own: `python -m examples.patterns.charts`.

They need the libraries of the extra `examples`. `tests/integration/test_patterns.py` runs them and checks the numbers.
"""
