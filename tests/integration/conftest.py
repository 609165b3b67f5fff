"""A local session for a module, and cells in a context of their own. Modules with other needs replace them."""

import pytest

from sandbox_client import Sandbox


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    with Sandbox.local(tmp_path_factory.mktemp("workspace")) as sandbox:
        yield sandbox


@pytest.fixture
def run(sandbox):
    """Runs cells in a context of their own."""
    context = sandbox.contexts.create("python").id
    yield lambda code, **options: sandbox.run_code(code, context=context, **options)
    sandbox.contexts.delete(context)
