"""Opens a store by its name: a bucket with a prefix, or a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sandbox_client.errors import InvalidArgument
from sandbox_client.stored.directory import DirectoryObjects
from sandbox_client.stored.s3 import S3Objects

if TYPE_CHECKING:
    import os

    from sandbox_client.stored.objects import Objects


def open_objects(
    store: str | os.PathLike[str],
    *,
    endpoint_url: str | None = None,
    region: str | None = None,
    path_style: bool | None = None,
) -> Objects:
    """Open a store.

    Args:
        store: `s3://BUCKET/PREFIX`, or a folder.
        endpoint_url: Address of an S3-compatible store; AWS if None.
        region: The bucket's region.
        path_style: Whether the bucket is a part of the URL's path. If None, it is if there is an `endpoint_url`.

    Raises:
        InvalidArgument: It is neither, or the folder does not exist.
    """
    text = str(store)
    if text.startswith("s3://"):
        bucket, _, prefix = text.removeprefix("s3://").partition("/")
        if not bucket:
            raise InvalidArgument(f"{text!r} has no bucket: write s3://BUCKET/PREFIX", field="store")
        return S3Objects(text, bucket, prefix, endpoint_url, region, is_path_style=path_style)
    if "://" in text:
        raise InvalidArgument(f"{text!r} is neither s3://BUCKET/PREFIX nor a folder", field="store")
    if endpoint_url or region or path_style is not None:
        message = f"it has no meaning for {text!r}, which is a folder: write the store as s3://BUCKET/PREFIX"
        raise InvalidArgument(message, field="endpoint_url" if endpoint_url else "region" if region else "path_style")
    folder = Path(store)
    if not folder.is_dir():
        raise InvalidArgument(
            f"{text!r} is not a folder: write a folder that exists, or s3://BUCKET/PREFIX", field="store"
        )
    return DirectoryObjects(folder)
