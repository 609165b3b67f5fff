"""The agent's image has of botocore's descriptions what an agent uses, and a client made of them does the same."""

import importlib.util
import shutil
from datetime import datetime
from pathlib import Path

import botocore
import botocore.session
import pytest
from botocore.config import Config
from botocore.loaders import Loader

REPOSITORY = Path(__file__).parents[3]
WHOLE = Path(botocore.__file__).parent / "data"
CALLS = (
    ("put_object", {"Bucket": "bucket", "Key": "a/b c.txt"}),
    ("list_objects_v2", {"Bucket": "bucket", "Prefix": "a/"}),
    ("upload_part", {"Bucket": "bucket", "Key": "k", "UploadId": "u", "PartNumber": 1}),
)


@pytest.fixture(scope="module")
def trimmed(tmp_path_factory) -> Path:
    program = REPOSITORY / "deploy/images/agent/trim.py"
    spec = importlib.util.spec_from_file_location("trim", program)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    data = tmp_path_factory.mktemp("botocore") / "data"
    shutil.copytree(WHOLE, data)
    module.trim(data)
    return data


def build_client(service: str, region: str, data: Path = WHOLE):
    session, loader = botocore.session.Session(), Loader()
    # Else it takes them for somebody's own, and goes another way.
    loader.BUILTIN_DATA_PATH = str(data)
    loader.search_paths[:] = [str(data)]
    session.register_component("data_loader", loader)
    config = Config(signature_version="s3v4" if service == "s3" else None)
    return session.create_client(
        service, region_name=region, aws_access_key_id="a", aws_secret_access_key="b", config=config
    )


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1", "cn-north-1", "us-gov-west-1"])
def test_a_client_of_the_trimmed_descriptions_signs_the_same_requests(trimmed, monkeypatch, region):
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: datetime(2026, 1, 1))  # noqa: DTZ001 - as botocore's
    whole, small = build_client("s3", region), build_client("s3", region, trimmed)
    for name, arguments in CALLS:
        assert small.generate_presigned_url(name, arguments) == whole.generate_presigned_url(name, arguments)
    assert whole.meta.service_model.operation_names == small.meta.service_model.operation_names


@pytest.mark.parametrize("service", ["sts", "sso", "sso-oidc"])
def test_credentials_of_a_role_can_still_be_asked_for(trimmed, service):
    small, whole = build_client(service, "eu-west-1", trimmed), build_client(service, "eu-west-1")
    assert small.meta.endpoint_url == whole.meta.endpoint_url
    assert small.meta.service_model.operation_names == whole.meta.service_model.operation_names


def test_hardly_anything_is_left(trimmed):
    assert sum(path.stat().st_size for path in trimmed.rglob("*") if path.is_file()) < 1 << 20
