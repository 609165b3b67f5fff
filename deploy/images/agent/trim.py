# noqa: INP001 - a program, no package
"""Removes from botocore's data the services that an agent never calls, because each start reads and parses that data.

botocore describes 400 services. The remaining descriptions lose their documentation, nine tenths of their size, and
their compression.
"""

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

KEPT = {"s3", "sso", "sso-oidc", "sts"}
"""Storage, and the services from which botocore gets a role's credentials."""


def trim(data: Path) -> None:
    """Rewrite botocore's data in place."""
    for folder in data.iterdir():
        if folder.is_dir() and folder.name not in KEPT:
            shutil.rmtree(folder)
    for name in KEPT:
        for path in (data / name).rglob("*.json.gz"):
            write(path.with_suffix(""), without_documentation(json.loads(gzip.decompress(path.read_bytes()))))
            path.unlink()
        for path in (data / name).rglob("examples-1.json"):
            path.unlink()
    endpoints = json.loads((data / "endpoints.json").read_text())
    for partition in endpoints["partitions"]:
        services = partition["services"]
        partition["services"] = {name: value for name, value in services.items() if name in KEPT}
    write(data / "endpoints.json", endpoints)


def without_documentation(value: Any) -> Any:
    """Return a description with empty documentation texts. Some must exist, and a member may have that name too."""
    if isinstance(value, list):
        return [without_documentation(each) for each in value]
    if isinstance(value, dict):
        return {
            key: "" if key == "documentation" and isinstance(each, str) else without_documentation(each)
            for key, each in value.items()
        }
    return value


def write(path: Path, value: Any) -> None:
    """Write JSON without whitespace."""
    path.write_text(json.dumps(value, separators=(",", ":")))


if __name__ == "__main__":
    import botocore  # part of the image, not of the project

    trim(Path(botocore.__file__).parent / "data")
