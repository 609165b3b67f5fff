"""The custom resources: the models that parse them, and the CRDs made from the models. Pure."""
