"""Sessions on Kubernetes: find, create, connect, wake. `sandbox top` reads here, too, so more than twelve modules."""
