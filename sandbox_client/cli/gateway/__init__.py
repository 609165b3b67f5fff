"""The commands that start the gateway, print how clients find it, and make its keys."""
