"""The custom resources: models that parse them, and the definitions the API server checks them by. Pure."""
