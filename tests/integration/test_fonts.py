"""Charts with characters that matplotlib's own font lacks, and locales."""

import pytest

MAKE_FONT = """
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
pen = TTGlyphPen(None)
pen.moveTo((100, 0)); pen.lineTo((900, 0)); pen.lineTo((900, 700)); pen.closePath()
builder = FontBuilder(1000, isTTF=True)
builder.setupGlyphOrder([".notdef", "zhong"])
builder.setupCharacterMap({0x4e2d: "zhong"})
builder.setupGlyf({".notdef": pen.glyph(), "zhong": pen.glyph()})
builder.setupHorizontalMetrics({".notdef": (1000, 0), "zhong": (1000, 0)})
builder.setupHorizontalHeader(ascent=800, descent=-200)
builder.setupNameTable({"familyName": "WenQuanYi Micro Hei", "styleName": "Regular"})
builder.setupOS2(usWeightClass=400)
builder.setupPost()
builder.save("own.ttf")
import matplotlib.font_manager
fonts = matplotlib.font_manager.fontManager
fonts.ttflist = [entry for entry in fonts.ttflist if "DejaVu" in entry.name]
fonts.addfont("own.ttf")
"""
NO_FONT = """
import matplotlib.font_manager
fonts = matplotlib.font_manager.fontManager
fonts.ttflist = [entry for entry in fonts.ttflist if "DejaVu" in entry.name]
"""
PLOT = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.title('\u4e2d {}')\nplt.show()"


def test_a_font_of_the_machine_is_used_whatever_font_the_code_chose(run):
    assert run(MAKE_FONT).error is None
    default = run(PLOT.format(""))
    assert (default.stderr, len(default.results)) == ("", 1)
    for choice in (
        "plt.rcParams['font.family'] = 'DejaVu Serif'",
        "plt.rcParams['font.sans-serif'] = ['DejaVu Sans Mono']",
        "plt.style.use('default')",
        "plt.rcdefaults()",
        "plt.rcParams['svg.fonttype'] = 'path'; %config InlineBackend.figure_formats = ['svg']",
    ):
        assert run(f"import matplotlib.pyplot as plt\n{choice.replace('; ', chr(10))}").error is None
        execution = run(PLOT.format(""))
        assert (execution.stderr, len(execution.results)) == ("", 1)


def test_a_font_that_the_code_names_and_that_is_missing_is_mentioned_once(run):
    run(MAKE_FONT)
    execution = run("import matplotlib.pyplot as plt\nplt.rcParams['font.sans-serif'] = ['SimHei']\n" + PLOT.format(""))
    lines = execution.stderr.splitlines()
    assert any("SimHei" in line for line in lines)
    assert len(lines) == len(set(lines)) <= 2
    assert "boxes" not in execution.stderr


@pytest.mark.parametrize("form", ["png", "svg", "retina"])
def test_characters_that_no_font_has_are_named_in_one_line_that_says_what_to_do(run, form):
    run(NO_FONT)
    run(f"%config InlineBackend.figure_formats = [{form!r}]")
    execution = run(PLOT.format("\ud55c\uad6d\u4e2d"))
    assert execution.stderr.count("\n") == 1
    assert execution.stderr.startswith("The picture shows boxes instead of \u4e2d\ud55c\uad6d: ")
    assert "addfont" in execution.stderr
    assert len(execution.results) == 1


def test_other_warnings_of_a_picture_stay_and_filters_are_obeyed(run):
    run(NO_FONT)
    warn = (
        "import warnings\nfrom matplotlib.lines import Line2D\nclass Line(Line2D):\n"
        "    def draw(self, renderer):\n        warnings.warn('own warning')\n        super().draw(renderer)\n"
        "import matplotlib.pyplot as plt\nplt.gca().add_line(Line([0, 1], [0, 1]))\nplt.title('\u4e2d')\nplt.show()"
    )
    assert "UserWarning: own warning" in run(warn).stderr
    assert run(f"import warnings\nwarnings.simplefilter('ignore')\n{warn}").stderr == ""


def test_the_encoding_of_a_session_is_utf_8(run):
    code = "import locale, sys\nlocale.setlocale(locale.LC_ALL, '')\n"
    values = (
        "(locale.getpreferredencoding(), sys.getfilesystemencoding(), open(__import__('os').devnull).encoding.upper())"
    )
    assert run(code + values).text == "('UTF-8', 'utf-8', 'UTF-8')"
