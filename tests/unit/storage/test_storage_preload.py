"""Loading the storage client before there is a session."""

import socket

from sandbox_agent.storage import s3_client
from sandbox_agent.storage.s3_client import Connection, S3Settings


def test_preloading_connects_to_nothing_and_later_clients_share_what_it_read(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    s3_client.preload()
    before = s3_client._session.cache_info()
    first, second = (
        Connection(S3Settings("b", "http://127.0.0.1:1", access_key_id=k, secret_access_key=k)) for k in "ab"
    )
    assert s3_client._session.cache_info().misses == before.misses
    assert [each.client._get_credentials().access_key for each in (first, second)] == ["a", "b"]
    for connection in (first, second):
        connection.close()
