"""Storage credentials for one session: shared static ones, or temporary ones that reach a single workspace."""
