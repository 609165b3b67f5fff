"""Commands and background processes."""
