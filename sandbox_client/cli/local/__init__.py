"""Sessions on this machine, `local/NAME`, and what clients in other languages need to reach a session."""
