"""Serves the tools over the Model Context Protocol, on stdio or streamable HTTP. Needs the [mcp] extra.

A server has one sandbox, so all clients of an HTTP server share its variables and files. The HTTP server has no
authentication of its own and therefore listens on loopback only. The `mcp` package changed its API in version 2, and
agent frameworks need one or the other: `version1` and `version2` build the same server with each.
"""

from sandbox_client.tools.mcp_server.serve import build_server, parse_address, serve_http, serve_stdio

__all__ = ["build_server", "parse_address", "serve_http", "serve_stdio"]
