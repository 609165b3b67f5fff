"""The wire protocol between clients, agent and operator (generated; see the .proto files beside the code)."""
