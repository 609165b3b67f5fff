"""The gRPC services: requests checked, passed to the runtime or the workspace, answers checked and translated."""
