"""A stateful bash context: a driver process that speaks frames, and the bash that it feeds with cells."""
