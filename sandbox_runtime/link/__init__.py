"""The runtime's end of the link: one agent at a time, one channel per operation."""
