"""The gRPC agent of a sandbox pod (trusted side) and, in `runtime`, what runs beside user code (untrusted side)."""
