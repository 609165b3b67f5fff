"""Sessions behind a gateway: its control API says how to reach an agent, and calls go to the agent itself."""
