"""The command line around the commands: loading them on use, completion, and unexpected errors."""
