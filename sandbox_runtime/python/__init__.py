"""What a Python context runs, from the fork of a zygote on: cells, their output, results and tracebacks.

Everything here shares its process with user code, so nothing in it is a security boundary.
"""
