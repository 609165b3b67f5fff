"""One folder per protocol. Each has `build_routes(gateway)`, which returns its Starlette routes."""
