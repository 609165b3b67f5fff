"""Builds what a release consists of into dist/: everything that a maintainer uploads. Run by `make release`.

The images come from buildah, as in `make images` (root, Debian); helm packages the chart. SHA256SUMS comes last, so an
interrupted build has none.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT: Final = Path(__file__).resolve().parent.parent
CLUSTER: Final = ROOT / "tests/e2e/cluster/sandbox-cluster"
CHART: Final = ROOT / "deploy/helm/sandbox-operator"
IMAGES: Final = ("sandbox-operator", "sandbox-agent", "sandbox-slim", "sandbox-client", "sandbox-full")
_TOOLS: Final = Path(os.environ.get("SANDBOX_E2E_HOME", "/var/lib/sandbox-e2e")) / "bin"
_PIN: Final = re.compile(r"^[a-z0-9][\w.-]*==[^\\\n]+", re.MULTILINE)


def read_version() -> str:
    """Return the version of the package.

    Raises:
        SystemExit: The chart has another version.
    """
    version: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    chart = (CHART / "Chart.yaml").read_text()
    for field, wrong in re.findall(r'^(version|appVersion): "?([^"\n]+)', chart, re.MULTILINE):
        if wrong != version:
            sys.exit(f"{CHART / 'Chart.yaml'}: {field} is {wrong}, but pyproject.toml has version {version}")
    return version


def without_hashes(constraints: str) -> str:
    """Return the pins of a file of constraints, each with its marker but without hashes, for `pip install -c`."""
    return "".join(f"{pin.strip()}\n" for pin in _PIN.findall(constraints))


def write_checksums(dist: Path) -> None:
    """Write SHA256SUMS, which `sha256sum --check` reads."""
    lines = []
    for path in sorted(dist.iterdir()):
        with path.open("rb") as file:
            lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.name}\n")
    (dist / "SHA256SUMS").write_text("".join(lines))


def build_python(dist: Path, version: str) -> None:
    """Build the source archive, and the wheel from that archive."""
    del version
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}") or "uv"
    _run(uv, "build", "--quiet", "--no-create-gitignore", "--out-dir", dist, ROOT)


def build_constraints(dist: Path, version: str) -> None:
    """Write the tested versions of all dependencies."""
    (dist / f"constraints-{version}.txt").write_text(without_hashes((ROOT / "constraints.txt").read_text()))


def build_protocol(dist: Path, version: str) -> None:
    """Pack the .proto files with a descriptor set, which grpcurl and code generators read."""
    import grpc_tools  # noqa: PLC0415 - only here
    from grpc_tools import protoc  # noqa: PLC0415 - same

    includes = [ROOT / "proto", Path(grpc_tools.__file__).parent / "_proto"]
    sources = sorted((ROOT / "proto/sandbox_proto/v1").glob("*.proto"))
    with (
        tempfile.TemporaryDirectory() as folder,
        tarfile.open(dist / f"sandbox-protocol-{version}.tar.gz", "w:gz") as tar,
    ):
        descriptors = Path(folder) / "descriptors.binpb"
        arguments = ["protoc", *(f"--proto_path={path}" for path in includes), f"--descriptor_set_out={descriptors}"]
        if protoc.main([*arguments, "--include_imports", "--include_source_info", *map(str, sources)]):
            sys.exit("protoc failed")
        tar.add(descriptors, descriptors.name)
        for source in sources:
            tar.add(source, source.relative_to(ROOT / "proto"))


def build_chart(dist: Path, version: str) -> None:
    """Package the chart."""
    del version
    helm = shutil.which("helm", path=f"{_TOOLS}{os.pathsep}{os.environ['PATH']}")
    if helm is None:
        sys.exit("helm is missing: install it, or run tests/e2e/cluster/sandbox-cluster build")
    _run(helm, "package", CHART, "--destination", dist)


def image_builder(name: str) -> Callable[[Path, str], None]:
    """Return what builds an image and writes it as an OCI archive."""
    return lambda dist, version: _run(CLUSTER, "archive", name, version, dist / f"{name}-{version}.oci.tar")


def main() -> None:
    """Build all parts, print the time of each and the size of each file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", default=",".join(IMAGES), help="the images to build, or none [%(default)s]")
    parser.add_argument("--dist", type=Path, default=ROOT / "dist", help="the folder, which is emptied first")
    arguments = parser.parse_args()
    names = [] if arguments.images == "none" else arguments.images.split(",")
    if unknown := set(names) - set(IMAGES):
        parser.error(f"--images: {', '.join(sorted(unknown))} is none of {', '.join(IMAGES)}")
    version = read_version()
    parts = {
        "wheel and source archive": build_python,
        "constraints": build_constraints,
        "protocol": build_protocol,
        "chart": build_chart,
        **{f"image {name}": image_builder(name) for name in names},
    }
    dist: Path = arguments.dist.resolve()
    shutil.rmtree(dist, ignore_errors=True)
    dist.mkdir(parents=True)
    for number, (title, build) in enumerate(parts.items(), 1):
        print(f"[{number}/{len(parts)}] {title}", flush=True)
        started = time.monotonic()
        build(dist, version)
        print(f"[{number}/{len(parts)}] {title}: {time.monotonic() - started:.0f} s", flush=True)
    write_checksums(dist)
    for path in sorted(dist.iterdir()):
        print(f"{path.stat().st_size / 1e3:11,.0f} kB  {path}")


def _run(*command: str | Path) -> None:
    status = subprocess.run(command, check=False).returncode
    if status:
        sys.exit(f"{command[0]} failed with status {status}")


if __name__ == "__main__":
    main()
