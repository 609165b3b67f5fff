"""The pure parts of the MCP door, and what it answers without the `mcp` package."""

import importlib.metadata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.testclient import TestClient

from sandbox_client.errors import InvalidArgument, NotFound
from sandbox_client.tools.schemas import TOOL_SPECS
from sandbox_gateway.access.gatekeeper import Gatekeeper
from sandbox_gateway.doors import mcp
from sandbox_gateway.doors.mcp.metadata import challenge, metadata_routes
from sandbox_gateway.doors.mcp.names import StoredPath, choose_session, default_session, read_uri, with_session
from sandbox_gateway.gateway import Gateway, Settings

NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)


@given(NAMES, st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda path: path != "/"))
def test_the_uri_of_a_file_leads_back_to_it(session, path):
    stored = StoredPath(session, path.lstrip("/") or "x")
    assert read_uri(stored.uri) == stored


@pytest.mark.parametrize(
    "uri",
    ["", "x", "workspace:", "workspace://", "workspace://s", "workspace:///p", "workspace://S/p", "workspace://[/p"],
)
def test_other_uris_are_not_found(uri):
    with pytest.raises(NotFound):
        read_uri(uri)


@given(st.text())
def test_any_text_is_a_uri_or_not_found(uri):
    try:
        found = read_uri(f"workspace://{uri}")
    except NotFound:
        return
    assert found.session
    assert found.path


def test_header_argument_and_user_choose_the_session_in_this_order():
    assert choose_session("ada", "chat", {}) == "chat"
    assert choose_session("ada", "chat", {"session": "chat"}) == "chat"
    assert choose_session("ada", None, {"session": "other"}) == "other"
    assert choose_session("mcp-ada", None, {}) == "mcp-ada"
    with pytest.raises(InvalidArgument, match="leave out session"):
        choose_session("ada", "chat", {"session": "other"})


def test_the_session_of_a_user_has_a_name_that_only_gateways_know():
    names = {default_session(Gatekeeper(None, key).derive("mcp", user)) for key in (b"1", b"2") for user in "ab"}
    assert len(names) == 4
    assert all(choose_session("x", name, {}) == name for name in names)


@pytest.mark.parametrize("name", ["", "A", "ä", "a.b", "a/b", "-", "x" * 64, 5, [], {}, True])
def test_a_wrong_name_is_refused_by_its_source(name):
    with pytest.raises(InvalidArgument) as refused:
        choose_session("ada", None, {"session": name})
    assert refused.value.field == "session"
    if isinstance(name, str):
        with pytest.raises(InvalidArgument) as refused:
            choose_session("ada", name, {})
        assert refused.value.field == "sandbox-session"


def test_each_tool_takes_the_session_and_nothing_else_changes():
    for spec in TOOL_SPECS:
        changed = with_session(spec).schema
        assert changed["properties"].keys() - spec.schema["properties"].keys() == {"session"}
        assert "session" not in spec.schema["properties"]
        assert changed["required"] == spec.schema["required"]


def test_a_challenge_names_what_is_known():
    assert challenge(Settings(), "") == "Bearer"
    assert challenge(Settings(), "invalid_token") == 'Bearer error="invalid_token"'
    settings = Settings(url="https://boxes.test", issuer="https://login.test")
    url = "https://boxes.test/.well-known/oauth-protected-resource/mcp"
    assert challenge(settings, "invalid_token") == f'Bearer error="invalid_token", resource_metadata="{url}"'
    assert len(metadata_routes(settings)) == 2


@pytest.mark.parametrize("installed", ["1.30.0", None])
def test_without_the_package_the_door_says_what_to_install(installed, monkeypatch):
    def version(name):
        if installed is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed

    monkeypatch.setattr(importlib.metadata, "version", version)
    routes = mcp.build_routes(Gateway(backend=None, access=None))
    answer = TestClient(Starlette(routes=routes)).post("/mcp")
    assert answer.status_code == 501
    assert "lacks version 2 of the mcp package" in answer.text
