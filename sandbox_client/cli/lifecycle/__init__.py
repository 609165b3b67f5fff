"""Commands and options for the life of sessions in a cluster, and for the workspaces that they leave in storage."""
