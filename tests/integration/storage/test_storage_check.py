"""The check of a store for `sandbox doctor`: each kind of request, and that conditions hold."""

import pytest

from sandbox_agent.storage.check import StorageCheck
from sandbox_agent.storage.errors import AccessDeniedError
from sandbox_agent.storage.repository.keys import Keys
from tests.integration.storage.conftest import PREFIX

ALL = ["put", "get", "list", "copy", "conditional put", "delete"]


@pytest.fixture
def any_store(new_store):
    return new_store()


class Wrapper:
    """A store with one fault."""

    def __init__(self, store, **faults):
        self.store, self.faults = store, faults

    def __getattr__(self, name):
        return self.faults.get(name) or getattr(self.store, name)


async def check(store) -> dict[str, str]:
    result = await StorageCheck(store, Keys(PREFIX)).run()
    return {each.operation: each.problem for each in result.checks}


async def keys_of(store) -> list[str]:
    return [info.key async for page in store.pages("") for info in page]


async def refuse(*_arguments, **_options):
    raise AccessDeniedError("AccessDenied")


async def test_a_sound_store_passes_and_keeps_nothing(any_store):
    result = await StorageCheck(any_store, Keys(PREFIX)).run()
    assert [(each.operation, each.problem) for each in result.checks] == [(name, "") for name in ALL]
    assert abs(result.clock_offset.ToTimedelta().total_seconds()) < 5
    assert await keys_of(any_store) == []


@pytest.mark.parametrize("condition", ["if_match", "if_none_match"])
async def test_a_store_that_ignores_a_condition_is_found_out(any_store, condition):
    async def put(key, body, **options):
        return await any_store.put(key, body, **{key: value for key, value in options.items() if key != condition})

    problems = await check(Wrapper(any_store, put=put))
    header = {"if_match": "If-Match", "if_none_match": "If-None-Match"}[condition]
    assert problems.pop("conditional put").startswith(f"the store ignores {header}: ")
    assert not any(problems.values())
    assert await keys_of(any_store) == []


@pytest.mark.parametrize(
    ("method", "operation", "tried"),
    [("put", "put", ["put", "list"]), ("copy", "copy", ALL), ("delete_many", "delete", ALL)],
)
async def test_a_refused_request_is_named_and_the_others_are_tried(any_store, method, operation, tried):
    problems = await check(Wrapper(any_store, **{method: refuse}))
    assert problems == {name: "AccessDenied" if name == operation else "" for name in tried}
