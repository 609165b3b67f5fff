"""What a session does for its client, in a pod: the tests of local sessions in tests/integration, over one session."""

from collections.abc import Iterator
from types import ModuleType

import pytest

from sandbox_client import Sandbox
from tests.e2e.support.sessions import Sessions
from tests.integration import (
    test_background_processes,
    test_file_services,
    test_local_session,
    test_python_interpreter,
    test_type_check,
)

# Left out is what looks at a local session's folders or processes from outside, and what takes long without need.
LOCAL_ONLY = {
    "test_a_context_of_the_preloading_zygote_has_its_shell_from_the_start",
    "test_a_killed_owner_leaves_no_process_and_no_folder",
    "test_a_plotly_figure_is_json_and_html_as_a_value_and_by_show",
    "test_a_bokeh_figure_is_json_and_html",
    "test_a_process_that_does_not_start_is_reported_with_its_log",
    "test_r24_a_session_without_egress_has_no_sockets",
    "test_a_wrong_option_is_named",
    "test_r9_a_check_ends_at_its_time_limit_and_the_variables_stay",
    "test_r9_a_checker_that_dies_is_started_again",
    "test_r9_time_of_a_warm_check_is_reported",
    "test_r9_without_a_checker_the_error_says_how_to_get_one",
    "test_what_is_pushed_is_in_the_store_and_in_the_next_session",
}

context = test_type_check.context


@pytest.fixture(scope="module")
def sandbox(kubectl) -> Iterator[Sandbox]:
    sessions = Sessions(kubectl)
    try:
        name = sessions.ready(env=[{"name": "COLOR", "value": "blue"}])
        with sessions.connect(name) as sandbox:
            # What the tests of rich results take as imported.
            sandbox.run_code("import IPython.display as show\nimport matplotlib.pyplot as plt\nimport pandas as pd")
            yield sandbox
    finally:
        sessions.close()


def _take(module: ModuleType) -> None:
    """Make a module's tests this module's, so that they find the fixtures above."""
    for name, each in vars(module).items():
        if name.startswith("test_") and callable(each) and name not in LOCAL_ONLY:
            if name in globals():
                raise AssertionError(f"two modules have a test {name}")
            globals()[name] = each


for _module in (
    test_background_processes,
    test_file_services,
    test_local_session,
    test_python_interpreter,
    test_type_check,
):
    _take(_module)
