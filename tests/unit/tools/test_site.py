"""Tests the site of `make docs`: where links lead, which ones fail, and what the generated pages contain."""

import importlib
import logging
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture
def hooks(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return importlib.import_module("site_hooks")


@pytest.fixture
def reference(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return importlib.import_module("site_reference")


@pytest.mark.parametrize(
    ("source", "place", "link", "resolved"),
    [
        ("README.md", "index.md", "[a](docs/storage.md#a-push)", "[a](storage.md#a-push)"),
        ("README.md", "index.md", "![a](docs/images/overview.svg)", "![a](images/overview.svg)"),
        ("docs/storage.md", "storage.md", "[a](../ARCHITECTURE.md)", "[a](architecture.md)"),
        ("docs/operations/upgrade.md", "operations/upgrade.md", "[a](../../README.md)", "[a](../index.md)"),
        ("deploy/helm/sandbox-operator/README.md", "chart.md", "[a](../../../docs/images.md)", "[a](images.md)"),
        ("docs/storage.md", "storage.md", "[`a`](../tools/site_hooks.py)", "`a`"),
        ("docs/storage.md", "storage.md", "[a](#a-push)", "[a](#a-push)"),
        ("docs/storage.md", "storage.md", "[a](https://example.com/a.md)", "[a](https://example.com/a.md)"),
        ("docs/storage.md", "storage.md", "```\n[a](nowhere.md)\n```", "```\n[a](nowhere.md)\n```"),
    ],
)
def test_a_link_leads_to_the_page_of_the_site(hooks, caplog, source, place, link, resolved):
    assert hooks.resolve_links(link, source, place) == resolved
    assert caplog.records == []


@pytest.mark.parametrize("link", ["nowhere.md", "../tools/nowhere.py", "../docs/nowhere.md#a"])
def test_a_link_to_nothing_is_a_warning_which_fails_a_strict_build(hooks, caplog, link):
    text = f"[a]({link})"
    assert hooks.resolve_links(text, "docs/storage.md", "storage.md") == text
    (record,) = caplog.records
    assert (record.levelno, record.name.split(".")[0]) == (logging.WARNING, "properdocs")
    assert record.getMessage() == f"docs/storage.md: {link} does not exist"


def test_the_site_is_built_strictly_and_loads_nothing_from_elsewhere():
    site = (ROOT / "properdocs.yml").read_text()
    assert "\nstrict: true\n" in site
    assert "\n  highlightjs: false\n" in site
    assert "http" not in site


def test_the_page_about_the_protocol_has_every_rpc_with_its_comment(reference):
    page = reference.build_protocol_page(reference.read_descriptors())
    sources = [path.read_text() for path in (ROOT / "proto/sandbox_proto/v1").glob("*.proto")]
    assert page.count("\n#### ") == sum(text.count("\n  rpc ") for text in sources)
    described = page.partition("#### InterpreterService.Execute\n")[2].partition("####")[0]
    assert "[ExecuteRequest](#executerequest) → stream of [ExecuteResponse](#executeresponse)" in described
    assert "INVALID_ARGUMENT" in described
    assert "| `request_id` | string | " in page
    assert "| `env` | map of string to string | " in page


def test_the_page_about_resources_has_fields_with_type_default_and_choices(reference):
    page = reference.build_resources_page()
    assert [line.removeprefix("## ") for line in page.splitlines() if line.startswith("## ")] == [
        "SandboxSession: spec",
        "SandboxSession: status",
        "SandboxTemplate: spec",
        "SandboxWarmPool: spec",
        "SandboxWarmPool: status",
    ]
    (idle,) = [line for line in page.splitlines() if line.startswith("| `lifecycle.idleTimeout` |")]
    assert "Default: `15m`." in idle
    assert "| `env[].name` | string | " in page


def test_the_page_about_the_sdk_has_all_that_is_exported(hooks):
    import sandbox_client  # noqa: PLC0415 - slow to import

    page = hooks.build_sdk_page()
    missing = {name for name in sandbox_client.__all__ if f"::: sandbox_client.{name}\n" not in page}
    assert missing == hooks.SYNCHRONOUS
