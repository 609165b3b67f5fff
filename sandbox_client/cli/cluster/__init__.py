"""Commands that show what the cluster knows about sessions: `get`, `list` and `describe`."""
