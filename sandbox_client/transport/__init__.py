"""How a call reaches an agent, survives a lost connection, and fails."""
