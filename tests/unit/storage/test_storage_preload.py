"""Making the storage client before there is a session."""

from datetime import UTC, datetime

import pytest
from botocore.httpsession import URLLib3Session

from sandbox_agent.server.settings import SettingsError, read_settings
from sandbox_agent.storage.backends.s3 import client as s3_client
from sandbox_agent.storage.backends.s3.client import S3Settings, connect, preload

PLACE = S3Settings("", "http://127.0.0.1:1", "somewhere", path_style=True)
OURS = S3Settings(
    "b", "http://127.0.0.1:1", "somewhere", "key", "secret", "token", datetime(2030, 1, 1, tzinfo=UTC), path_style=True
)


@pytest.fixture(autouse=True)
def unconnected(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a request was sent")

    monkeypatch.setattr(URLLib3Session, "send", refuse)
    yield
    s3_client._PRELOADED.clear()


@pytest.fixture
def preloaded():
    preload(PLACE)
    return s3_client._PRELOADED[0]


def test_the_session_takes_the_client_that_was_made_for_it_with_its_own_credentials(preloaded):
    connection = connect(OURS)
    assert connection is preloaded
    assert connection.settings == OURS
    assert url_of(connection).startswith("http://127.0.0.1:1/b/name?")
    assert "Credential=key%2F" in url_of(connection)
    assert "X-Amz-Security-Token=token" in url_of(connection)


def url_of(connection):
    """A request as the client signs it."""
    return connection.client.generate_presigned_url("get_object", Params={"Bucket": "b", "Key": "name"})


def test_it_answers_requests_by_the_store_and_no_more_by_itself(preloaded):
    with pytest.raises(AssertionError, match="a request was sent"):
        connect(OURS).client.list_objects_v2(Bucket="b")


def test_it_is_one_sessions_alone(preloaded):
    first, second = connect(OURS), connect(OURS)
    assert (first is preloaded, second is preloaded) == (True, False)
    renewed = connect(S3Settings("b", "http://127.0.0.1:1", "somewhere", "new", "s", path_style=True))
    assert [each.client._get_credentials().access_key for each in (first, second, renewed)] == ["key", "key", "new"]


@pytest.mark.parametrize(
    "change",
    [
        {"endpoint": "http://127.0.0.1:2"},
        {"region": "elsewhere"},
        {"path_style": False},
        {"ca_certificates": "-----BEGIN"},
        {"access_key_id": "", "secret_access_key": ""},
    ],
    ids=lambda change: next(iter(change)),
)
def test_settings_of_another_kind_have_a_client_of_their_own(preloaded, change, monkeypatch):
    monkeypatch.setattr(s3_client, "Connection", lambda settings: settings)
    other = s3_client.replace(OURS, **change)
    assert connect(other) is other


def test_later_clients_share_what_it_read(preloaded):
    before = s3_client._session.cache_info()
    connections = [connect(OURS), connect(OURS)]
    assert s3_client._session.cache_info().misses == before.misses
    for connection in connections:
        connection.close()


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("", None),
        ("0", None),
        ("1", {}),
        ('{"endpoint":"http://s:9","path_style":true}', {"endpoint": "http://s:9", "path_style": True}),
    ],
)
def test_the_environment_says_what_is_known_of_the_store(text, known):
    assert read_settings({"SANDBOX_PRELOAD_STORAGE": text}).preload_storage == known


@pytest.mark.parametrize("text", ["yes", "[]", '{"path_style":"yes"}', '{"secret_access_key":"s"}', '{"region":1}'])
def test_an_environment_that_says_something_else_is_named(text):
    with pytest.raises(
        SettingsError, match="SANDBOX_PRELOAD_STORAGE must be 1, or a JSON object with endpoint, region"
    ):
        read_settings({"SANDBOX_PRELOAD_STORAGE": text})
