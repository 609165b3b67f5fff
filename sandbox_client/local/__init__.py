"""Sessions on this machine, without a cluster."""
