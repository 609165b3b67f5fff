"""The values that calls return: frozen, and without I/O."""
