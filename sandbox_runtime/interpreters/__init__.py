"""Interpreter processes: the pool, the zygotes they are forked from, and how they end."""
