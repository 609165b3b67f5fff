"""Sessions on Kubernetes: find, create, connect, wake."""
