"""Talks to a session's agent."""
