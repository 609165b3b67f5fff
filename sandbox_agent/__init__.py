"""The trusted process beside the sandbox: gRPC API, authentication and object storage."""
