import gc
import os
import shutil
from pathlib import Path

import pytest

STATE = Path(os.environ.get("SANDBOX_E2E_HOME", "/var/lib/sandbox-e2e"))


@pytest.fixture(scope="module")
def helm() -> str:
    found = shutil.which("helm", path=f"{os.environ['PATH']}{os.pathsep}{STATE / 'bin'}")
    if found is None:
        pytest.skip("needs helm")
    return found


@pytest.fixture(autouse=True)
def no_garbage_collection():
    """Python 3.11's ast.parse fails if a collection during it runs code that parses, too.

    The report of a lost task does so: it formats a traceback. Such tasks come from other tests in the same process.
    """
    gc.disable()
    yield
    gc.enable()
