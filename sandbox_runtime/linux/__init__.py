"""The few system calls that the standard library lacks."""
