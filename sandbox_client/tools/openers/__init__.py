"""Openers: callables that return a session for the tools, and state its facts before."""
