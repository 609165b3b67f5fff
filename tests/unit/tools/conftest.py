import gc

import pytest


@pytest.fixture(autouse=True)
def no_garbage_collection():
    """Python 3.11's ast.parse fails if a collection during it runs code that parses, too.

    The report of a lost task does so: it formats a traceback. Such tasks come from other tests in the same process.
    """
    gc.disable()
    yield
    gc.enable()
