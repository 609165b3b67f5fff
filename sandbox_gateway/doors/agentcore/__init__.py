"""Speaks the protocol of AWS's AgentCore code interpreter, so that AWS's SDKs, Strands and others reach our sessions.

docs/doors/agentcore.md lists each operation. botocore's model of the service is the contract: a test checks each reply
against it.
"""

from sandbox_gateway.doors.agentcore.routes import build_routes

__all__ = ["build_routes"]
