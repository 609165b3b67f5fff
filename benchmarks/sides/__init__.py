"""The sides of a measurement: our session, the peer (a Jupyter kernel) and the floor (gRPC that does nothing)."""
