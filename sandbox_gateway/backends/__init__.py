"""The sessions behind the gateway: those of this machine, or those of a cluster."""
