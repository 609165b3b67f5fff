"""In-memory agents, API servers and stores for tests."""
