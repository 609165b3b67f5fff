"""A listing's objects read in a quarter of the time that botocore's parser of any shape takes for them.

Every look at what others stored is a listing. The rest of the answer, errors too, stays botocore's to read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping
    from datetime import datetime

    from mypy_boto3_s3 import S3Client

_OK: Final = 200


def read_listings(client: S3Client, parse_time: Callable[[str], datetime]) -> None:
    """Have a client's listings read here: Key, Size, ETag and LastModified of each object."""

    def before_parse(
        response_dict: MutableMapping[str, Any], customized_response_dict: MutableMapping[str, Any], **_: object
    ) -> None:
        if response_dict["status_code"] != _OK:
            return
        try:
            rest, objects = split(response_dict["body"], parse_time)
        except (ET.ParseError, KeyError, ValueError):
            return  # botocore says what is wrong with it
        if objects:
            response_dict["body"] = rest
            customized_response_dict["Contents"] = objects

    client.meta.events.register("before-parse.s3.ListObjectsV2", before_parse)


def split(body: bytes, parse_time: Callable[[str], datetime]) -> tuple[bytes, list[dict[str, Any]]]:
    """The answer without its objects, and these.

    Raises:
        ParseError: It is no XML.
        KeyError: An object lacks something.
        ValueError: A size or time is none.
    """
    root = ET.fromstring(body)  # noqa: S314 - from the store, which botocore's parser trusts in the same way
    objects, rest = [], []
    for element in root:
        if element.tag.rpartition("}")[2] != "Contents":
            rest.append(element)
            continue
        found = {part.tag.rpartition("}")[2]: part.text or "" for part in element}
        objects.append(
            {
                "Key": found["Key"],
                "Size": int(found["Size"]),
                "ETag": found["ETag"],
                "LastModified": parse_time(found["LastModified"]),
            }
        )
    root[:] = rest
    return ET.tostring(root), objects
