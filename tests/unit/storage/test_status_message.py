"""The status of a workspace counts what could not be saved, however little of it the message names."""

import pytest

from sandbox_agent.storage import messages
from sandbox_agent.storage.base_state import Base


@pytest.mark.parametrize(("count", "named"), [(0, 0), (2, 2), (50, 50), (51, 49), (100_000, 49)])
def test_every_file_that_could_not_be_saved_is_counted(count, named):
    failed = [(f"file-{number}", "its name is too long") for number in range(count)]
    status = messages.status(Base(), "", "", None, failed, dirty=True)
    assert status.unsaved_count == count
    assert [each.path for each in status.unsaved if each.path] == [path for path, _ in failed[:named]]
