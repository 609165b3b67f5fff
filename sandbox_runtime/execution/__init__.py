"""A context and the cells that run in it, one after another."""
