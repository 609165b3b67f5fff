"""How fast a local session is beside a Jupyter kernel and bare gRPC, measured in one run: `make bench`."""
