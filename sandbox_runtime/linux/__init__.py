"""The parts of Linux that the standard library lacks: system calls, seccomp and process trees."""
