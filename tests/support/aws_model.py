"""Checks replies against botocore's model of a service. botocore itself checks requests only, and without patterns."""

import json
import re

import botocore.session

MODELS = {
    name: botocore.session.get_session().get_service_model(name)
    for name in ("bedrock-agentcore", "bedrock-agentcore-control")
}


def operation(name):
    """Return an operation of either service."""
    model = next(model for model in MODELS.values() if name in model.operation_names)
    return model.operation_model(name)


def problems(value, shape, where="reply"):
    """Return what is wrong with a JSON value, as sentences."""
    kinds = {
        "structure": dict,
        "list": list,
        "string": str,
        "blob": str,
        "timestamp": str,
        "boolean": bool,
        "integer": int,
        "long": int,
        "double": (int, float),
    }
    if not isinstance(value, kinds[shape.type_name]):
        return [f"{where} is {value!r}, not a {shape.type_name}"]
    if shape.type_name == "structure":
        members = {key: each for key, each in shape.members.items() if not each.serialization.get("location")}
        found = [f"{where} lacks {key}" for key in shape.required_members if key in members and key not in value]
        found += [f"{where} has {key}, which the model does not know" for key in value if key not in members]
        for key, each in value.items():
            if key in members:
                found += problems(each, members[key], f"{where}.{key}")
        return found
    if shape.type_name == "list":
        return [
            each for number, item in enumerate(value) for each in problems(item, shape.member, f"{where}[{number}]")
        ]
    found = []
    if isinstance(value, str):
        enum = shape.metadata.get("enum")
        if enum and value not in enum:
            found.append(f"{where} is {value!r}, not one of {enum}")
        pattern = shape.metadata.get("pattern")
        if pattern and not re.fullmatch(pattern, value):
            found.append(f"{where} is {value!r}, which does not match {pattern}")
    size = len(value) if isinstance(value, str) else value
    if size < shape.metadata.get("min", size) or size > shape.metadata.get("max", size):
        found.append(f"{where} is out of bounds: {value!r}")
    return found


def reply_problems(response_dict):
    """Return what is wrong with a reply, as botocore's event `response-received` has it. Streams are left out."""
    model = operation(response_dict["context"]["operation_name"])
    headers = response_dict["headers"]
    code = headers.get("x-amzn-errortype")
    if code is None and model.has_event_stream_output:
        return []
    shape = model.output_shape
    if code is not None:
        shape = next((each for each in model.error_shapes if each.name == code), None)
        if shape is None:
            return [f"{model.name} has no error {code}"]
        status = shape.metadata["error"]["httpStatusCode"]
        if status != response_dict["status_code"]:
            return [f"{code} has status {response_dict['status_code']}, not {status}"]
    elif response_dict["status_code"] != model.http["responseCode"]:
        return [f"{model.name} has status {response_dict['status_code']}, not {model.http['responseCode']}"]
    return problems(json.loads(response_dict["body"]), shape)
