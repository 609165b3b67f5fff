"""The examples in docstrings, as cells."""

import doctest
import importlib
import inspect
import re

from tests.differential.sources import Cell

PACKAGES = {
    "standard library": [
        "ast", "base64", "bisect", "calendar", "collections", "colorsys", "contextlib", "copy", "csv", "dataclasses",
        "datetime", "decimal", "difflib", "enum", "fnmatch", "fractions", "functools", "graphlib", "hashlib",
        "heapq", "html", "inspect", "ipaddress", "itertools", "json", "json.decoder", "json.encoder", "locale", "math",
        "numbers", "operator", "os", "pathlib", "pickle", "pickletools", "pprint", "random", "re", "reprlib",
        "sched", "secrets", "shlex", "statistics", "string", "struct", "textwrap", "threading", "timeit", "trace",
        "traceback", "types", "typing", "unittest.mock", "urllib.parse", "uuid", "weakref", "xml.dom.minidom",
        "zipfile", "_strptime", "http.cookies", "email.utils", "symtable", "cmd", "code", "configparser", "string",
    ],
    "numpy": [
        "numpy", "numpy.linalg", "numpy.fft", "numpy.ma", "numpy.polynomial", "numpy.random", "numpy.char",
        "numpy.strings", "numpy.rec", "numpy.testing", "numpy.lib.stride_tricks", "numpy.lib.recfunctions",
    ],
    "pandas": [
        "pandas", "pandas.api.types", "pandas.api.extensions", "pandas.api.indexers", "pandas.plotting",
        "pandas.tseries.offsets", "pandas.tseries.frequencies", "pandas.io.formats.style",
        "pandas.core.strings.accessor",
        "pandas.core.groupby", "pandas.core.window", "pandas.core.resample", "pandas.core.indexes.accessors",
        "pandas.core.indexing", "pandas.errors",
    ],
    "matplotlib": [
        "matplotlib", "matplotlib.pyplot", "matplotlib.axes", "matplotlib.cbook", "matplotlib.cm", "matplotlib.colors",
        "matplotlib.dates", "matplotlib.path", "matplotlib.patches", "matplotlib.ticker", "matplotlib.transforms",
        "matplotlib.gridspec", "matplotlib.figure", "matplotlib.collections", "matplotlib.sankey", "matplotlib.tri",
        "matplotlib.animation", "matplotlib.widgets", "matplotlib.font_manager", "matplotlib.units",
    ],
}  # fmt: skip
PRELUDE = """
import random as _random, socket as _socket
import numpy as _numpy
import numpy as np
import pandas as pd

def _refuse(*arguments, **options):
    raise OSError("these examples have no network")

_socket.getaddrinfo = _socket.create_connection = _socket.socket.connect = _refuse
_real_default_rng = np.random.default_rng
np.random.default_rng = lambda seed=0: _real_default_rng(seed)
from {module} import *
"""
SEED = "_random.seed(1); _numpy.random.seed(1)"
_RANDOM = re.compile(r"random|shuffle|sample|choice|seed")
# They need a network, a keyboard or a screen, never end, or show the time, the machine or an address in another form.
_LEFT_OUT = re.compile(
    r"://|urlopen|clipboard|input\(|\b(?:exit|quit|breakpoint|fork|abort|kill)\(|_exit|webbrowser|cmdloop|interact\("
    r"|\bid\(|getpid|uuid1|uuid4|\.today\(|now\(|urandom|token_|time\(\)|monotonic|perf_counter|ctypes\.data|\.data\b$"
    r"|show_config|show_versions|(?:numpy|np|pd)\.test\(|BaseIndexer|np\.empty|numpy\.empty|\bempty(?:_like)?\(|memory_usage|__array_interface__|cpu_count|getmtime|walk_packages"
)


def read_docstrings(module, seen):
    """Yield the examples of each docstring of a module, as a list of cells, except for docstrings that were seen."""
    for name, doc in _documented(importlib.import_module(module)):
        if doc in seen or ">>>" not in doc:
            continue
        seen.add(doc)
        try:
            examples = doctest.DocTestParser().get_examples(doc)
        except ValueError:
            continue
        if any(_LEFT_OUT.search(example.source) for example in examples):
            continue
        yield [Cell(f"{name} {number}", example.source) for number, example in enumerate(examples, 1)]


def needs_seed(cells):
    return any(_RANDOM.search(cell.code) for cell in cells)


def _documented(module):
    yield module.__name__, inspect.getdoc(module) or ""
    for name in sorted(vars(module)):
        value = getattr(module, name, None)
        if name.startswith("_") or inspect.ismodule(value):
            continue
        yield f"{module.__name__}.{name}", _doc(value)
        if inspect.isclass(value):
            for attribute in sorted(vars(value)):
                if not attribute.startswith("_"):
                    yield f"{module.__name__}.{name}.{attribute}", _doc(inspect.getattr_static(value, attribute))


def _doc(value):
    try:
        return inspect.getdoc(value) or ""
    except Exception:  # noqa: BLE001 - some libraries compute it
        return ""
