"""The SDK and the CLI: sessions on this machine, in the cluster, or through a port-forward."""
