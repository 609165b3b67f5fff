"""The tables of docs/doors/e2b.md against the routes of the door."""

import re
from pathlib import Path

import pytest
from starlette.routing import Route

from sandbox_gateway.doors.e2b import build_routes
from sandbox_gateway.doors.e2b.control.routes import SUPPORTED, UNSUPPORTED
from sandbox_gateway.doors.e2b.envd import routes as envd
from sandbox_gateway.doors.e2b.envd.routes import Envd
from sandbox_gateway.doors.e2b.interpreter.routes import PATHS
from sandbox_gateway.gateway import Gateway

PAGE = (Path(__file__).resolve().parents[4] / "docs" / "doors" / "e2b.md").read_text()
SECTIONS = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE))


def rows(section):
    """Return whether each route or call of a section is supported."""
    found = re.findall(r"^\| `([^`]+)` \| (yes|partly|no) \|", SECTIONS[section], re.MULTILINE)
    assert len(found) == len(dict(found)), "a route stands there twice"
    return dict(found)


def test_the_control_plane_has_the_routes_of_the_table():
    shown = rows("Control plane")
    assert {route for route, support in shown.items() if support != "no"} == set(SUPPORTED)
    assert {route for route, support in shown.items() if support == "no"} == set(UNSUPPORTED)
    served = build_routes(Gateway(backend=None, access=None))
    paths = {
        f"{method} {each.path}" for each in served if isinstance(each, Route) for method in each.methods - {"HEAD"}
    }
    assert paths == set(shown)


def test_envd_has_the_calls_and_routes_of_the_tables():
    services = Envd().services
    assert set(rows("Commands")) == set(services["process.Process"])
    shown = set(rows("Files"))
    assert shown == set(services["filesystem.Filesystem"]) | set(envd.HTTP) | {"GET /health"}


def test_the_code_interpreter_has_the_routes_of_the_table():
    assert set(rows("Code interpreter")) == set(PATHS)


@pytest.mark.parametrize("section", ["Control plane", "Commands", "Files", "Code interpreter"])
def test_every_row_can_be_read(section):
    lines = [line for line in SECTIONS[section].splitlines() if line.startswith("| `")]
    assert len(lines) == len(rows(section)) > 5
