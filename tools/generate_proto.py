"""Generates the Python code beside the .proto files, or with `--check` fails if the checked-in code differs."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent / "proto"
SOURCES = sorted((ROOT / "sandbox_proto" / "v1").glob("*.proto"))


def generate(destination: Path) -> None:
    """Run protoc for all sources, writing below `destination`."""
    arguments = [
        "protoc",
        f"--proto_path={ROOT}",
        f"--proto_path={Path(grpc_tools.__file__).parent / '_proto'}",
        f"--python_out={destination}",
        f"--pyi_out={destination}",
        f"--grpc_python_out={destination}",
        *(str(source) for source in SOURCES),
    ]
    if protoc.main(arguments) != 0:
        sys.exit("protoc failed")


def find_differences(generated: Path) -> list[str]:
    """Return the names of files whose checked-in text differs from the generated one."""
    folder = generated / "sandbox_proto" / "v1"
    checked_in = {path.name for path in (ROOT / "sandbox_proto" / "v1").glob("*_pb2*")}
    fresh = {path.name for path in folder.glob("*_pb2*")}
    return sorted(
        name
        for name in checked_in | fresh
        if name not in checked_in
        or name not in fresh
        or (ROOT / "sandbox_proto" / "v1" / name).read_bytes() != (folder / name).read_bytes()
    )


def main() -> None:
    """Parse the command line and generate or check."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail on a difference")
    if not parser.parse_args().check:
        generate(ROOT)
        return
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        if differences := find_differences(Path(folder)):
            sys.exit(f"generated code differs: {', '.join(differences)}; run `make proto` and commit the result")


if __name__ == "__main__":
    main()
