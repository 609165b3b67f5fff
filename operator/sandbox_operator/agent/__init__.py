"""Calls a session's agent, and builds the requests that bind it to its session."""
