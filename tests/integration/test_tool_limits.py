"""Limits of what a model gets, for real: the rest is in a file of the sandbox, and large pictures are scaled there."""

import json
import re

import pytest

from sandbox_client.tools import BlockingSandboxTools, local_sessions
from sandbox_client.tools.pictures import picture_size

LIMIT, EDGE = 2_000, 100
NOISE = "import os\nfrom PIL import Image\nImage.frombytes('RGB', (2000, 1000), os.urandom(6_000_000)).save({!r})"


@pytest.fixture(scope="module")
def tools():
    with BlockingSandboxTools(local_sessions(), max_text=LIMIT, max_image_edge=EDGE) as tools:
        yield tools


def wholly(tools, result):
    """Read what a result left out, as a model does."""
    path = result.whole.removesuffix(" in the sandbox")
    assert path in result.text
    return tools.execute_command(f"wc -c < {path}").value.strip()


@pytest.mark.parametrize(
    ("call", "arguments"),
    [
        ("execute_code", {"code": "print('first'); print('x' * 50_000); print('last')"}),
        ("execute_code", {"code": "console.log('first\\n' + 'x'.repeat(50000) + '\\nlast')", "language": "javascript"}),
        ("execute_command", {"command": "echo first; head -c 50000 /dev/zero | tr '\\0' x; echo; echo last"}),
    ],
)
def test_a_long_output_keeps_its_ends_and_says_where_all_of_it_is(tools, call, arguments):
    result = tools.call(call, arguments)
    assert result.value.startswith("first\n")
    assert result.value.endswith("last\n")
    assert len(result.text) < 1.2 * LIMIT
    assert "48,012 of 50,012 characters left out; the whole text is in .cache/tool-output/" in result.text
    assert wholly(tools, result) == "50012"


@pytest.mark.parametrize(
    ("call", "arguments", "end"),
    [
        ("execute_code", {"code": "print('x' * 50_000)\nraise ValueError('y' * 50_000 + 'end')"}, "ValueError: yyy"),
        ("execute_command", {"command": "head -c 50000 /dev/zero | tr '\\0' x >&2; exit 3"}, "exited with code 3"),
    ],
)
def test_a_long_failure_keeps_each_of_its_parts(tools, call, arguments, end):
    result = tools.call(call, arguments)
    assert len(result.text) < 1.3 * LIMIT
    assert end in result.value["error"]
    assert result.value["status"] == "error"
    assert int(wholly(tools, result)) > 50_000


def test_a_hundred_megabytes_of_output_become_one_short_text(tools):
    result = tools.execute_code("import sys\nfor _ in range(100): sys.stdout.write('x' * 1_000_000)")
    assert len(result.text) < 1.2 * LIMIT
    assert "99,998,000 of 100,000,000 characters left out" in result.text
    assert wholly(tools, result) == "100000000"


def test_only_the_last_whole_outputs_are_kept(tools):
    for _ in range(22):
        tools.execute_code("print('x' * 3000)")
    assert int(tools.execute_command("ls .cache/tool-output | wc -l").value) == 20
    assert ".cache" not in tools.ci_push_to_workspace().text


def test_a_long_file_keeps_its_ends_and_its_size(tools):
    tools.execute_code("open('a.txt', 'w').write('first' + 'x' * 5_000_000 + 'last')")
    (read,) = tools.file_operations("read", ["a.txt"]).value["files"]
    assert (read["content"][:5], read["content"][-4:], read["size"], read["truncated"]) == (
        "first",
        "last",
        5_000_009,
        True,
    )
    assert "the whole text is in a.txt" in read["content"]
    assert len(read["content"]) < 1.2 * LIMIT
    many = tools.file_operations("read", ["a.txt"] * 50)
    assert len(many.text) < 1.3 * LIMIT
    assert many.value["left_out"]


def test_a_long_saved_file_names_its_place_in_the_sandbox(tools):
    tools.execute_code("open('b.txt', 'w').write('first' + 'x' * 50_000 + 'last')", output_filename="b.txt")
    stored = tools.workspace_read("code-interpreter/b.txt").value
    assert stored["content"].startswith("first")
    assert stored["content"].endswith("last")
    assert "the whole text is in b.txt in the sandbox" in stored["content"]


def test_a_long_list_keeps_its_first_entries(tools):
    tools.execute_command("mkdir -p many; touch many/{0001..0900}")
    result = tools.file_operations("list", ["many"])
    assert len(result.text) < 1.2 * LIMIT
    assert result.value[0]["name"] == "many/0001"
    assert "of 900 entries were left out" in result.notice


@pytest.mark.parametrize("name", ["noise.png", "noise.jpg", "noise.gif", "noise.webp"])
def test_a_large_picture_is_scaled_and_the_saved_file_is_not(tools, name):
    result = tools.execute_code(NOISE.format(name), output_filename=name)
    (image,) = result.images
    assert picture_size(image.data) == (EDGE, EDGE // 2)
    assert f"{name} (2000 x 1000 pixels) is shown scaled to 100 x 50" in result.text
    command = f"python -c \"from PIL import Image; print(Image.open('{name}').size)\""
    assert tools.execute_command(command).value == "(2000, 1000)\n"


def test_displayed_pictures_are_scaled_and_only_twenty_are_shown(tools):
    plot = (
        "import matplotlib.pyplot as plt\nfor _ in range(22): plt.figure(figsize=(2, 1)); plt.plot([1, 2]); plt.show()"
    )
    result = tools.execute_code(plot)
    assert len(result.images) == 20
    assert {max(picture_size(image.data)) for image in result.images} == {EDGE}
    assert "only the first 20 of 22 pictures are shown" in result.notice


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        ("Image.MAX_IMAGE_PIXELS = None; Image.new('1', (60_000, 60_000)).save('p.png')", "bomb"),
        ("open('p.png', 'wb').write(b'\\x89PNG\\r\\n\\x1a\\n' + bytes(500))", "cannot identify"),
        ("open('p.png', 'wb').write(b'\\xff\\xd8\\xff' + os.urandom(5000))", "cannot"),
    ],
)
def test_a_bomb_or_rubbish_that_looks_like_a_picture_is_not_shown(tools, make, reason):
    result = tools.execute_code(f"import os\nfrom PIL import Image\n{make}", output_filename="p.png")
    assert (result.images, result.is_error) == ((), False)
    assert "p.png" in result.notice
    assert "is not shown" in result.notice
    assert reason in result.notice
    assert "Saved p.png" in result.text


def test_scaling_leaves_no_trace_in_the_models_session(tools):
    tools.execute_code("kept = 1")
    before = json.loads(tools.execute_code("import json; print(json.dumps(sorted(globals())))").value)
    tools.execute_code(NOISE.format("n.png"), output_filename="n.png")
    after = json.loads(tools.execute_code("print(json.dumps(sorted(globals())))").value)
    sources = {name for name in after if re.fullmatch(r"_i\d+", name)}
    assert set(after) - set(before) - sources <= {"Image", "os"}
    assert len(sources - set(before)) == 2, "the model's own cells, and no other"
