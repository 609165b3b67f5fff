"""Commands and background processes: their start, input, output, and end."""
