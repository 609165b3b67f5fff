"""The gRPC services: check the request, call the runtime or the workspace, check the answer."""
