"""The memory limit, enforced before the kernel would."""
