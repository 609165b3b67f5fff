"""A small client of the Kubernetes API, and the lease that elects a leader among replicas."""
