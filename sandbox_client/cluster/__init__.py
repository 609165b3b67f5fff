"""Sessions on Kubernetes: find, create, connect, wake. More than twelve modules, because `sandbox top` reads here, too."""
