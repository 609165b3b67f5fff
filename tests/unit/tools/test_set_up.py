"""Tools of the installation: the progress of `make demo`, its picture, and the Pythons of `make test-install`."""

import base64
import io

import pytest

from examples.demo import encode_picture
from tools import set_up
from tools.check_install import stable_versions

LINES = [
    "Collecting numpy==2.4.6 (from -r local.txt (line 3))\n",
    "  Downloading numpy.whl (15.6 MB)\n",
    "Requirement already satisfied: pip==26.3 in ./lib\n",
    "Installing collected packages: numpy, pip\n",
]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_has_one_line_that_changes():
    out = Terminal()
    set_up.show_progress(LINES, 2, out)
    shown = [text.strip() for text in out.getvalue().split("\r") if text.strip()]
    assert shown == ["1 of 2: numpy", "2 of 2: pip", "unpacking 2 packages"]
    assert "\n" not in out.getvalue()


def test_a_log_has_a_line_for_each_tenth_package():
    out = io.StringIO()
    last = set_up.show_progress([f"Collecting p{n}\n" for n in range(25)] + LINES[-1:], 25, out)
    assert out.getvalue() == "  10 of 25: p9\n  20 of 25: p19\n  unpacking 25 packages\n"
    assert last[-2:] == ["Collecting p24", "Installing collected packages: numpy, pip"]


PNG = b"\x89PNG" + bytes(range(256)) * 40
TEXT = base64.b64encode(PNG).decode()


def test_kitty_gets_the_picture_in_pieces():
    shown = encode_picture(PNG, {"TERM": "xterm-kitty"})
    head, *rest = shown.strip().split("\033\\")[:-1]
    assert head == f"\033_Ga=T,f=100,c=60,m=1;{TEXT[:4096]}"
    assert rest[-1].startswith("\033_Gm=0;")
    assert "".join(piece.partition(";")[2] for piece in (head, *rest)) == TEXT


@pytest.mark.parametrize("environ", [{"TERM_PROGRAM": "iTerm.app"}, {"LC_TERMINAL": "iTerm2"}])
def test_iterm_gets_the_picture_at_once(environ):
    assert encode_picture(PNG, environ) == f"\033]1337;File=inline=1;size={len(PNG)};width=60:{TEXT}\a\n"


@pytest.mark.parametrize("environ", [{}, {"TERM": "xterm-256color"}, {"TERM": "xterm-kitty", "TMUX": "/tmp/t"}])
def test_a_terminal_that_shows_no_pictures_gets_none(environ):
    assert encode_picture(PNG, environ) == ""


def download(version):
    major, minor = version.split(".")[:2]
    return {"version": version, "version_parts": {"major": int(major), "minor": int(minor)}}


def test_installation_is_checked_for_stable_pythons_that_are_supported():
    listing = [download(version) for version in ("3.16.0a2", "3.15.2", "3.9.25", "3.11.18", "3.11.17", "3.15.0rc1")]
    assert stable_versions(listing) == ["3.11", "3.15"]
