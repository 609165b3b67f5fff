# ruff: noqa: E501 - a table
"""Python files in every encoding and with every kind of line end run in the launcher as with the interpreter itself."""

import subprocess
import sys
from pathlib import Path

import pytest

import sandbox_runtime.scripts
from sandbox_client.cli.run.file_kind import CannotRunError, file_kind

LAUNCHER = Path(sandbox_runtime.scripts.__file__).with_name("launcher.py")
BOM = b"\xef\xbb\xbf"
FILES = {
    "latin.py": "# -*- coding: latin-1 -*-\nprint('caf\xe9', __doc__)\n".encode("latin-1"),
    "latin2ndline.py": "#!/usr/bin/env python3\n# vim: set fileencoding=latin-1 :\nprint('caf\xe9')".encode("latin-1"),
    "latin3rdline.py": "\n\n# coding: latin-1\nprint('caf\xe9')".encode("latin-1"),
    "noenc.py": "print('ok')\nprint('caf\xe9')\n".encode("latin-1"),
    "noenc_line5.py": "\n\n\n\nx='caf\xe9'\n".encode("latin-1"),
    "cp1252.py": "# coding: cp1252\nprint('\u20ac')".encode("cp1252"),
    "gbk.py": "# coding: gbk\nprint('\u4e2d\u6587')".encode("gbk"),
    "sjis.py": "# coding: shift_jis\nprint('\u8868\u793a')".encode("shift_jis"),
    "eucjp.py": "# coding: euc-jp\nprint('\u65e5\u672c')".encode("euc-jp"),
    "utf7.py": b"# coding: utf-7\nprint('a')",
    "utf16cookie.py": b"# coding: utf-16\nprint('a')",
    "unknown.py": b"# coding: nonsense\nprint('a')",
    "bom.py": BOM + b"print('bom')\n",
    "bom_cookie.py": BOM + b"# coding: utf-8\nprint('bom')\n",
    "bom_badcookie.py": BOM + b"# coding: latin-1\nprint('bom')\n",
    "bom_shebang.py": BOM + b"#!/usr/bin/env python3\nprint('bom')\n",
    "crlf.py": b"x = '''a\r\nb'''\r\nprint(repr(x))\r\nif x:\r\n    print('y')\r\n",
    "cr.py": b"print(1)\rprint(2)\r",
    "mixed.py": b"print(1)\r\nprint(2)\nprint(3)\r",
    "noeol.py": b"if True:\n    print('x')",
    "noeol_comment.py": b"print('x')\n# end",
    "backslash_end.py": b"print('x')\n\\",
    "tabs.py": b"if 1:\n\tprint('a')\n        print('b')\n",
    "tabs_ok.py": b"if 1:\n\tprint('a')\n\tprint('b')\n",
    "formfeed.py": b"\x0cprint('a')\n\x0c\nprint('b')\n",
    "nul_end.py": b"print('a')\n" + b"x=1\n" * 4000 + b"\0\nprint('b')\n",
    "nul_instr.py": b"print('a')\n" + b"x=1\n" * 4000 + b"y='a\0b'\nprint('b')\n",
    "badutf8_late.py": b"print('start')\n" + b"x=1\n" * 5000 + b"y='\xff'\n",
    "empty.py": b"",
    "onlycomment.py": b"# nothing",
    "onlybom.py": BOM,
    "ctrlz.py": b"print('a')\n\x1a\nprint('b')\n",
    "unicode_ident.py": "\u00e9t\u00e9 = 1\nprint(\u00e9t\u00e9)\nprint('\U0001f600')\n".encode(),
    "nbsp.py": "x =\u00a01\n".encode(),
    "doc.py": b'"""Doc\xc3\xa9."""\nprint(__doc__, __annotations__)\nx: int = 1\nprint(__annotations__)',
    "future.py": b"from __future__ import annotations\ndef f(x: undefined): pass\nprint(f.__annotations__)",
    "error_latin.py": "# coding: latin-1\ndef f():\n    raise ValueError('caf\xe9')\nf()\n".encode("latin-1"),
    "syntax_latin.py": "# coding: latin-1\nx = 'caf\xe9' +\n".encode("latin-1"),
    "syntax_crlf.py": b"x = 1\r\ny = (\r\nz\r\n",
    "longline.py": b"x = '" + b"a" * 300000 + b"'\nprint(len(x))\n",
    "deep.py": b"x = " + b"(" * 150 + b"1" + b")" * 150 + b"\nprint(x)",
    "toodeep.py": b"x = " + b"(" * 300 + b"1" + b")" * 300 + b"\nprint(x)",
    "surrogate.py": b"print('\xed\xa0\x80')\n",
    "indent.py": b"  print('a')\n",
    "inspect_.py": "# coding: latin-1\nimport inspect\ndef f():\n    return 'caf\xe9'\nprint(inspect.getsource(f))\n".encode(
        "latin-1"
    ),
    "linecache_.py": b"import linecache\nprint(repr(linecache.getline(__file__, 1)))",
    "warn.py": b"x = '\\d'\nprint(x)\nassert (1, 'a')\n",
    "returns.py": b"print('a')\nreturn 1\n",
}


def run(folder, *command):
    done = subprocess.run([sys.executable, *command], cwd=folder, capture_output=True, input=b"line", check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("name", FILES)
def test_a_file_runs_and_fails_as_with_the_interpreter(tmp_path, name):
    (tmp_path / name).write_bytes(FILES[name])
    assert run(tmp_path, LAUNCHER, "id", name, "word") == run(tmp_path, name, "word")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_file_in_another_unicode_encoding_is_refused(encoding):
    marks = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}
    content = marks.get(encoding, b"") + "print(1)".encode(encoding)
    with pytest.raises(CannotRunError, match="save it as UTF-8 first"):
        file_kind("a.py", content)
