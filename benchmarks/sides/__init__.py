"""What is measured: a session of ours, the peer (a Jupyter kernel) and the floor (gRPC that does nothing)."""
