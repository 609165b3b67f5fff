"""Fakes in memory for tests: agents, an API server, a link to a runtime, and an object store."""
