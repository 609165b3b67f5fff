"""Users' programs in a pod: the tests of tests/integration about output, workers, fonts and names, over one session."""

import locale
from collections.abc import Iterator
from types import ModuleType

import pytest

from sandbox_client import Sandbox
from tests.e2e.support.sessions import Sessions
from tests.integration import test_fonts, test_odd_file_names, test_output_order, test_spawned_workers

# Left out is what uses a session of its own.
LOCAL_ONLY = {
    "test_the_command_names_what_it_did_not_copy_and_exits_with_1",
    "test_streams_and_handlers_of_an_earlier_cell_keep_the_order_too",
    # The slim image has no joblib, and it has the font that these hide or replace.
    "test_loky_and_joblib_run_what_cells_define",
    "test_a_font_that_the_code_names_and_that_is_missing_is_mentioned_once",
    "test_characters_that_no_font_has_are_named_in_one_line_that_says_what_to_do",
}


@pytest.fixture(scope="module")
def sandbox(kubectl) -> Iterator[Sandbox]:
    sessions = Sessions(kubectl)
    try:
        with sessions.connect(sessions.ready()) as sandbox:
            yield sandbox
    finally:
        sessions.close()


@pytest.fixture
def run(sandbox):
    context = sandbox.contexts.create("python").id
    assert sandbox.run_code(test_output_order.SETUP, context=context).error is None
    yield lambda code, **options: sandbox.run_code(code, context=context, **{"timeout": 60, **options})
    sandbox.contexts.delete(context)


def _take(module: ModuleType) -> None:
    """Make a module's tests this module's, so that they find the fixtures above."""
    for name, each in vars(module).items():
        if name.startswith("test_") and callable(each) and name not in LOCAL_ONLY:
            if name in globals():
                raise AssertionError(f"two modules have a test {name}")
            globals()[name] = each


for _module in (test_fonts, test_odd_file_names, test_output_order, test_spawned_workers):
    _take(_module)


def test_the_image_draws_chinese_japanese_and_korean_in_cells_and_in_commands(sandbox, run):
    text = "\u4e2d\u6587 \ud55c\uad6d\uc5b4 \u65e5\u672c\u8a9e \u30ab\u30ca"
    code = f"import warnings\nwarnings.simplefilter('error')\nimport matplotlib.pyplot as plt\nplt.title('{text}')\n"
    execution = run(f"{code}plt.show()")
    assert (execution.error, execution.stderr, len(execution.results)) == (None, "", 1)
    done = sandbox.run(["python", "-c", f"{code}plt.savefig('command.png')"])
    assert (done.exit_code, done.stderr) == (0, "")
    assert run("from PIL import ImageFont\nImageFont.truetype('wqy-microhei.ttc', 12).getname()[0]").error is None


@pytest.mark.parametrize("name", ["en_US.UTF-8", "de_DE.UTF-8", "zh_CN.UTF-8", "ja_JP.UTF-8", "C.UTF-8"])
def test_locales_of_the_image_can_be_chosen(run, name):
    assert run(f"import locale\nprint(locale.setlocale(locale.LC_ALL, {name!r}))").stdout == f"{name}\n"


def test_a_locale_that_the_image_lacks_is_an_error(run):
    execution = run("import locale\nlocale.setlocale(locale.LC_ALL, 'xx_XX.UTF-8')")
    assert execution.error.name == locale.Error.__name__


def test_a_file_that_the_sandbox_cannot_read_is_named_and_the_others_are_downloaded(sandbox, tmp_path):
    assert sandbox.run("mkdir -p secret/closed; cd secret; echo 1 >a; echo 2 >b; echo 3 >closed/c; chmod 0 b closed").ok
    report = sandbox.files.download_tree("secret", tmp_path / "out")
    assert (tmp_path / "out" / "a").read_text() == "1\n"
    assert {failure.path for failure in report.failed} == {"secret/b", "secret/closed"}
    assert sandbox.run("chmod 700 secret/closed").ok
