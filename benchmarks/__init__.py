"""Benchmarks of a local session against a Jupyter kernel and bare gRPC, measured in one run: `make bench`."""
