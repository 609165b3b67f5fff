"""Builds the reference pages of `make docs`: the protocol from descriptors, the resources from their definitions."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc_tools
import yaml
from google.protobuf import descriptor_pb2
from grpc_tools import protoc

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT: Final = Path(__file__).resolve().parent.parent
PROTO: Final = ROOT / "proto"
DEFINITIONS: Final = ROOT / "deploy/helm/sandbox-operator/crds"
# Field numbers in FileDescriptorProto and below, of which the paths of comments consist.
_MESSAGES: Final = 4
_ENUMS: Final = 5
_SERVICES: Final = 6
_FIELDS: Final = 2
_NESTED_MESSAGES: Final = 3
_NESTED_ENUMS: Final = 4
_FILE_COMMENT: Final = (12,)

Field = descriptor_pb2.FieldDescriptorProto
Path_ = tuple[int, ...]


def read_descriptors() -> Sequence[descriptor_pb2.FileDescriptorProto]:
    """Return the project's .proto files, with their comments."""
    sources = sorted(PROTO.glob("sandbox_proto/v1/*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "descriptors"
        arguments = [
            "protoc",
            f"--proto_path={PROTO}",
            f"--proto_path={Path(grpc_tools.__file__).parent / '_proto'}",
            f"--descriptor_set_out={target}",
            "--include_source_info",
        ]
        if protoc.main([*arguments, *map(str, sources)]) != 0:
            sys.exit("protoc failed")
        return descriptor_pb2.FileDescriptorSet.FromString(target.read_bytes()).file


def build_protocol_page(files: Sequence[descriptor_pb2.FileDescriptorProto]) -> str:
    """Return the page about the protocol: services first, then messages and enums, per file."""
    lines = ["# Protocol", "", "The gRPC API `sandbox.v1`, from the comments of the `.proto` files.", ""]
    for file in sorted(files, key=lambda file: not file.service):
        comments = {
            tuple(location.path): location.leading_comments.strip()
            for location in file.source_code_info.location
            if location.leading_comments
        }
        lines += [f"## {Path(file.name).name}", "", _prose(comments.get(_FILE_COMMENT, "")), ""]
        for index, service in enumerate(file.service):
            lines += _service(service, comments, (_SERVICES, index))
        for index, message in enumerate(file.message_type):
            lines += _message(message, message.name, comments, (_MESSAGES, index))
        for index, enum in enumerate(file.enum_type):
            lines += _enum(enum, enum.name, comments, (_ENUMS, index))
    return "\n".join(lines)


def _service(service: descriptor_pb2.ServiceDescriptorProto, comments: dict[Path_, str], path: Path_) -> Iterator[str]:
    yield from (f"### {service.name}", "", _prose(comments.get(path, "")), "")
    for index, method in enumerate(service.method):
        request = _link(method.input_type, is_stream=method.client_streaming)
        response = _link(method.output_type, is_stream=method.server_streaming)
        yield from (f"#### {service.name}.{method.name}", "", f"{request} → {response}", "")
        yield from (_prose(comments.get((*path, _FIELDS, index), "")), "")


def _message(
    message: descriptor_pb2.DescriptorProto, name: str, comments: dict[Path_, str], path: Path_
) -> Iterator[str]:
    yield from (f"### {name}", "", _prose(comments.get(path, "")), "")
    if message.field:
        yield from ("| Field | Type | Meaning |", "|---|---|---|")
    entries = {nested.name: nested for nested in message.nested_type if nested.options.map_entry}
    for index, field in enumerate(message.field):
        meaning = _cell(comments.get((*path, _FIELDS, index), ""))
        yield f"| `{field.name}` | {_type(field, entries)} | {meaning} |"
    yield ""
    for index, nested in enumerate(message.nested_type):
        if not nested.options.map_entry:
            yield from _message(nested, f"{name}.{nested.name}", comments, (*path, _NESTED_MESSAGES, index))
    for index, enum in enumerate(message.enum_type):
        yield from _enum(enum, f"{name}.{enum.name}", comments, (*path, _NESTED_ENUMS, index))


def _enum(
    enum: descriptor_pb2.EnumDescriptorProto, name: str, comments: dict[Path_, str], path: Path_
) -> Iterator[str]:
    yield from (f"### {name}", "", _prose(comments.get(path, "")), "", "| Value | Meaning |", "|---|---|")
    for index, value in enumerate(enum.value):
        yield f"| `{value.name}` | {_cell(comments.get((*path, _FIELDS, index), ''))} |"
    yield ""


def _type(field: Field, entries: dict[str, descriptor_pb2.DescriptorProto]) -> str:
    entry = entries.get(field.type_name.rpartition(".")[2])
    if entry is not None:
        key, value = entry.field
        return f"map of {_type(key, {})} to {_type(value, {})}"
    name = _link(field.type_name) if field.type_name else Field.Type.Name(field.type).removeprefix("TYPE_").lower()
    return f"repeated {name}" if field.label == Field.LABEL_REPEATED else name


def _link(type_name: str, *, is_stream: bool = False) -> str:
    name = type_name.removeprefix(".")
    ours = name.removeprefix("sandbox.v1.")
    text = f"`{name}`" if ours == name else f"[{ours}](#{ours.lower().replace('.', '')})"
    return f"stream of {text}" if is_stream else text


def build_resources_page() -> str:
    """Return the page about the custom resources: every field with its type and meaning."""
    lines = ["# Custom resources", "", "Group `sandboxsessions.dev`, version `v1alpha1`.", ""]
    for path in sorted(DEFINITIONS.glob("*.yaml")):
        definition = yaml.safe_load(path.read_text())["spec"]
        kind = definition["names"]["kind"]
        schema = definition["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
        for part in ("spec", "status"):
            if part in schema:
                lines += [f"## {kind}: {part}", "", _cell(schema[part].get("description", "")), ""]
                lines += ["| Field | Type | Meaning |", "|---|---|---|", *_fields(schema[part], ""), ""]
    return "\n".join(lines)


def _fields(schema: dict[str, Any], prefix: str) -> Iterator[str]:
    for name, field in schema.get("properties", {}).items():
        items = field.get("items", {})
        shown = f"{prefix}{name}" + ("[]" if items else "")
        kind = f"list of {_kind(items)}" if items else _kind(field)
        choices = ", ".join(f"`{choice}`" for choice in field.get("enum", ()))
        meaning = " ".join(filter(None, [_cell(field.get("description", "")), choices and f"One of {choices}."]))
        default = f" Default: `{field['default']}`." if "default" in field else ""
        yield f"| `{shown}` | {kind} | {meaning}{default} |"
        yield from _fields(items or field, f"{shown}.")


def _kind(schema: dict[str, Any]) -> str:
    return "number or text" if schema.get("x-kubernetes-int-or-string") else str(schema.get("type", "any"))


def _prose(comment: str) -> str:
    # Comments are plain text with backquotes; `<` would begin a tag.
    return re.sub(r"<(?=[a-z])", "&lt;", comment)


def _cell(comment: str) -> str:
    return _prose(" ".join(comment.split())).replace("|", "\\|")
