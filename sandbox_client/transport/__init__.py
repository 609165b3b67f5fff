"""Sends calls to an agent, survives lost connections, and turns failures into errors."""
