"""Sends what a cell shows: text, rich results, charts, tables and tracebacks."""
