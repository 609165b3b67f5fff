"""The files that `make release` writes itself."""

import subprocess
import tarfile

import pytest
from google.protobuf import descriptor_pb2

from tools import release

PINS = """\
aiohttp==3.14.5 \\
    --hash=sha256:00 \\
    --hash=sha256:11
    # via kubernetes
numpy==2.4.6 ; python_full_version < '3.12' \\
    --hash=sha256:22
    # via
    #   sandbox-operator (pyproject.toml)
"""


def test_constraints_keep_versions_and_markers_without_hashes():
    assert release.without_hashes(PINS) == "aiohttp==3.14.5\nnumpy==2.4.6 ; python_full_version < '3.12'\n"
    pinned = (release.ROOT / "constraints.txt").read_text()
    lines = release.without_hashes(pinned).splitlines()
    assert len(lines) == sum("==" in line for line in pinned.splitlines()) > 100
    assert not any("hash" in line or "\\" in line for line in lines)


def test_sha256sum_reads_the_checksums(tmp_path):
    (tmp_path / "wheel.whl").write_bytes(b"a wheel")
    (tmp_path / "chart.tgz").write_bytes(b"a chart")
    release.write_checksums(tmp_path)
    check = ["sha256sum", "--check", "SHA256SUMS"]
    checked = subprocess.run(check, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert checked.stdout == "chart.tgz: OK\nwheel.whl: OK\n"


@pytest.mark.parametrize("field", ["version", "appVersion"])
def test_a_chart_of_another_version_is_refused(monkeypatch, tmp_path, field):
    version = release.read_version()
    text = (release.CHART / "Chart.yaml").read_text()
    monkeypatch.setattr(release, "CHART", tmp_path)
    (tmp_path / "Chart.yaml").write_text(text)
    assert release.read_version() == version
    lines = [f"{field}: 9.9.9" if line.startswith(f"{field}:") else line for line in text.splitlines()]
    (tmp_path / "Chart.yaml").write_text("\n".join(lines))
    with pytest.raises(SystemExit, match=f"{field} is 9.9.9, but pyproject.toml has version {version}"):
        release.read_version()


def test_the_protocol_has_its_sources_and_descriptors_of_all_they_import(tmp_path):
    release.build_protocol(tmp_path, "1.0")
    with tarfile.open(tmp_path / "sandbox-protocol-1.0.tar.gz") as archive:
        names = archive.getnames()
        described = descriptor_pb2.FileDescriptorSet.FromString(archive.extractfile("descriptors.binpb").read())
    files = {file.name for file in described.file}
    assert {name for name in names if name.endswith(".proto")} <= files
    assert "sandbox_proto/v1/session.proto" in files
    assert "google/protobuf/timestamp.proto" in files


def test_an_archive_has_the_image_under_the_name_that_a_node_looks_for(tmp_path):
    # A node that imports it takes the name as it is, and the chart looks for images.registry=localhost.
    script = (
        f"STATE={tmp_path}; . tests/e2e/cluster/lib/images.sh; "
        'images() { :; }; bud() { echo "$4" >"$file.part"; }; '
        f"archive sandbox-agent 1.2.3 {tmp_path}/agent.tar"
    )
    subprocess.run(["bash", "-euc", script], cwd=release.ROOT, check=True)
    assert (
        tmp_path / "agent.tar"
    ).read_text() == f"oci-archive:{tmp_path}/agent.tar.part:localhost/sandbox-agent:1.2.3\n"
