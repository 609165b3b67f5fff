"""Memory and network limits, enforced before the kernel would."""
