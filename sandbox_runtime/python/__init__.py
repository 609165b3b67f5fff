"""The Python side of a context: it runs cells and sends their output, results and tracebacks.

It shares a process with user code, so nothing here is a security boundary.
"""
