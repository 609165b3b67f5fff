"""Storage credentials for one session."""
