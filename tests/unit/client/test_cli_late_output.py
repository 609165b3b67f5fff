"""The marks of late output do not reach those who run code as `python -c` and `node -e` do."""

import pytest

from sandbox_client.cli.run.late_output import Unmarked


class Streams:
    def __init__(self):
        self.out, self.err = [], []

    def write_stdout(self, text):
        self.out.append(text)

    def write_stderr(self, text):
        self.err.append(text)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("[late output of cell 1]\nlate\n[end of late output]\n", "late\n"),
        ("a\n[late output of cell 12]\nb\n[end of late output]\nc", "a\nb\nc"),
        ("[late output of cells]\n[end]\n[", "[late output of cells]\n[end]\n["),
        ("[... 7 bytes of late output left out ...]\n", "[... 7 bytes of late output left out ...]\n"),
        ("", ""),
        ("\n\n", "\n\n"),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_only_the_marks_are_removed_however_the_text_is_cut(written, kept, size):
    streams = Streams()
    unmarked = Unmarked(streams)
    for start in range(0, len(written), size):
        unmarked.write_stdout(written[start : start + size])
        unmarked.write_stderr(written[start : start + size])
    unmarked.finish()
    assert ("".join(streams.out), "".join(streams.err)) == (kept, kept)


def test_a_line_that_was_only_begun_is_written_at_once():
    streams = Streams()
    Unmarked(streams).write_stdout("50 %\r60 %")
    assert streams.out == ["50 %\r60 %"]
