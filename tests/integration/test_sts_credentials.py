"""Credentials by AssumeRole from a server that speaks STS: what is asked for, when, and what goes wrong with it."""

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from sandbox_operator.app.logs import configure
from sandbox_operator.credentials import sts
from sandbox_operator.credentials.source import StaticCredentials
from sandbox_operator.credentials.sts import StsCredentials, choose_endpoint
from sandbox_operator.errors import Blocked, SettingsError
from sandbox_operator.settings import Settings, load_settings

ROLE = "arn:aws:iam::123456789012:role/sandboxes"
END = datetime(2031, 2, 3, 4, 5, 6, tzinfo=UTC)
ANSWER = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>
<AccessKeyId>TEMPORARY-{number}</AccessKeyId><SecretAccessKey>canary-secret</SecretAccessKey>
<SessionToken>canary-token</SessionToken><Expiration>2031-02-03T04:05:06Z</Expiration>
</Credentials></AssumeRoleResult></AssumeRoleResponse>"""
REFUSAL = """<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>
<Code>AccessDenied</Code><Message>user alice may not assume it</Message></Error></ErrorResponse>"""


class TokenService:
    """An STS that notes what it is asked and answers as it is told.

    Attributes:
        asked: Form fields of each request, and under `key` who signed it.
        is_refusing: Answers AccessDenied.
        may_answer: Requests wait for it.
    """

    def __init__(self):
        self.asked: list[dict[str, str]] = []
        self.is_refusing = False
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.endpoint = ""

    @Request.application
    def __call__(self, request: Request) -> Response:
        """WSGI."""
        fields = {name: values[0] for name, values in parse_qs(request.get_data(as_text=True)).items()}
        self.asked.append({**fields, "key": request.headers["Authorization"].split("Credential=")[1].split("/")[0]})
        number = len(self.asked)
        self.may_answer.wait(30)
        if self.is_refusing:
            return Response(REFUSAL, 403, content_type="text/xml")
        return Response(ANSWER.format(number=number), content_type="text/xml")


@pytest.fixture
def service() -> Iterator[TokenService]:
    service = TokenService()
    server = make_server("127.0.0.1", 0, service, threaded=True)
    service.endpoint = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield service
    service.may_answer.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def own_keys(tmp_path: Path) -> Callable[[str], None]:
    def write(key: str) -> None:
        (tmp_path / "access_key_id").write_text(key)
        (tmp_path / "secret_access_key").write_text("own-secret")

    write("OPERATOR")
    return write


@pytest.fixture
def settings(service: TokenService, tmp_path: Path, own_keys: Callable[[str], None]) -> Settings:
    return Settings(
        storage_bucket="files",
        storage_endpoint=service.endpoint,
        storage_credentials="sts",
        storage_credentials_dir=tmp_path,
        storage_sts_role_arn=ROLE,
        storage_sts_duration=1800,
        storage_sts_external_id="tenant-7",
    )


@pytest.fixture
async def source(settings: Settings):
    source = StsCredentials(settings, StaticCredentials(settings))
    yield source
    await source.close()


async def test_a_workspaces_credentials_are_asked_for_with_a_policy_for_its_prefix(
    source: StsCredentials, service: TokenService
):
    found = await source.credentials_for("sandboxes/team/t1/")
    assert (found.access_key_id, found.secret_access_key, found.session_token, found.expires_at) == (
        "TEMPORARY-1",
        "canary-secret",
        "canary-token",
        END,
    )
    (asked,) = service.asked
    assert asked["Action"] == "AssumeRole"
    assert (asked["key"], asked["RoleArn"], asked["ExternalId"]) == ("OPERATOR", ROLE, "tenant-7")
    assert (asked["DurationSeconds"], asked["RoleSessionName"]) == ("1800", "sandboxes-team-t1")
    assert json.loads(asked["Policy"])["Statement"][0]["Resource"] == "arn:aws:s3:::files/sandboxes/team/t1/*"
    assert "canary" not in repr(found)


async def test_what_was_asked_for_early_is_asked_for_once_and_used_once(source: StsCredentials, service: TokenService):
    source.prepare("p/t1/")
    source.prepare("p/t1/")
    assert (await source.credentials_for("p/t1/")).access_key_id == "TEMPORARY-1"
    assert (await source.credentials_for("p/t1/")).access_key_id == "TEMPORARY-2"
    assert len(service.asked) == 2


async def test_a_service_that_does_not_answer_holds_up_nobody_else(
    source: StsCredentials, service: TokenService, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sts, "_READ_TIMEOUT", 0.2)
    service.may_answer.clear()
    waiting = asyncio.create_task(source.credentials_for("p/t1/"))
    longest, last = 0.0, asyncio.get_running_loop().time()
    while not waiting.done():
        await asyncio.sleep(0.01)
        now = asyncio.get_running_loop().time()
        longest, last = max(longest, now - last), now
    with pytest.raises(Blocked, match="AssumeRole failed: ReadTimeoutError") as caught:
        await waiting
    assert (caught.value.reason, caught.value.failed) == ("RoleNotAssumed", False)
    assert longest < 1, "the loop goes on, but for what the interpreter's lock costs while botocore is imported"


async def test_a_refusal_is_told_without_what_the_service_says_of_users(
    source: StsCredentials, service: TokenService, caplog: pytest.LogCaptureFixture
):
    service.is_refusing = True
    source.prepare("p/t1/")
    with pytest.raises(Blocked, match=r"AssumeRole failed with AccessDenied$"):
        await source.credentials_for("p/t1/")
    assert "alice" in caplog.text
    assert "own-secret" not in caplog.text
    service.is_refusing = False
    assert (await source.credentials_for("p/t1/")).expires_at == END


async def test_no_log_has_a_secret_in_it_at_any_level(
    source: StsCredentials, capsys: pytest.CaptureFixture[str], restored_logging: None
):
    configure("DEBUG")
    logging.getLogger("sandbox_operator").debug("this level is written")
    await source.load()
    await source.credentials_for("p/t1/")
    written = capsys.readouterr().err
    assert "this level is written" in written
    assert "canary" not in written
    assert "own-secret" not in written


@pytest.fixture
def restored_logging() -> Iterator[None]:
    """The test's own handlers and levels are gone afterwards."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


async def test_a_workspace_that_no_policy_can_name_gets_nothing(source: StsCredentials, service: TokenService):
    with pytest.raises(Blocked, match="cannot be expressed in a policy"):
        await source.credentials_for("p/*/")
    assert not service.asked


async def test_the_operators_own_keys_may_change_at_any_time(
    source: StsCredentials, service: TokenService, own_keys: Callable[[str], None]
):
    await source.credentials_for("p/t1/")
    own_keys("OPERATOR-2")
    await source.credentials_for("p/t1/")
    assert [asked["key"] for asked in service.asked] == ["OPERATOR", "OPERATOR-2"]


async def test_without_keys_of_its_own_the_operator_uses_those_of_its_surroundings(
    settings: Settings, service: TokenService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    settings = settings.model_copy(update={"storage_credentials_dir": tmp_path / "none"})
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "SURROUNDINGS")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    source = StsCredentials(settings, StaticCredentials(settings))
    await source.load()
    await source.credentials_for("p/t1/")
    await source.close()
    assert [asked["key"] for asked in service.asked] == ["SURROUNDINGS"]


@pytest.mark.parametrize(
    ("given", "storage", "chosen"),
    [
        ("https://sts.example", "https://s3.example", "https://sts.example"),
        ("", "http://minio.example:9000", "http://minio.example:9000"),
        ("", "https://s3.eu-west-1.amazonaws.com", ""),
        ("", "", ""),
    ],
)
def test_the_token_service_is_the_stores_own_unless_it_is_awss(given: str, storage: str, chosen: str):
    settings = Settings(storage_sts_endpoint=given, storage_endpoint=storage)
    assert choose_endpoint(settings) == chosen


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"STS_ROLE_ARN": ""}, "STORAGE_STS_ROLE_ARN"),
        ({"STS_ROLE_ARN": "arn"}, "STORAGE_STS_ROLE_ARN"),
        ({"BUCKET": ""}, "STORAGE_BUCKET"),
        ({"PREFIX": "p*"}, "STORAGE_PREFIX"),
        ({"STS_DURATION": "899"}, "STORAGE_STS_DURATION"),
        ({"STS_RENEW_SECONDS": "2800"}, "STORAGE_STS_RENEW_SECONDS"),
        ({"CREDENTIALS": "static"}, "STORAGE_CREDENTIALS"),
        ({"CREDENTIALS": "role"}, "STORAGE_CREDENTIALS"),
    ],
)
def test_settings_that_contradict_each_other_are_named(change: dict[str, str], named: str):
    good = {"BUCKET": "files", "CREDENTIALS": "sts", "STS_ROLE_ARN": ROLE}
    variables = {f"SANDBOX_OPERATOR_STORAGE_{name}": value for name, value in good.items()}
    assert load_settings(variables).storage_sts_duration == timedelta(hours=1).seconds
    with pytest.raises(SettingsError, match=named):
        load_settings(variables | {f"SANDBOX_OPERATOR_STORAGE_{name}": value for name, value in change.items()})
