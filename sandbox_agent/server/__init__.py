"""The process: gRPC servers, authentication, health and metrics endpoints."""
