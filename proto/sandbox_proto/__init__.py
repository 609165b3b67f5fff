"""The protocol between clients, operator and agent, and its generated code."""
