"""One folder per protocol. Each has `build_routes(gateway)`, which returns its Starlette routes.

Routes that choose by host or header (`Host("{port:int}-{id}.DOMAIN")`, or an own class) are asked before those that
choose by path. A handler gets the caller's address from `request.client`. It stores the caller's name in
`request.state.caller`, for the log.
"""
