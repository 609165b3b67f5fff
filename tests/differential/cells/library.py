# %% json
import json

print(json.dumps({"b": [1, None, True], "a": "é"}, indent=2, sort_keys=True, ensure_ascii=False))
# %% json round trip
json.loads('{"a": [1, 2.5, "x", null]}')
# %% regular expressions
import re

re.findall(r"(\w+)@(\w+)", "a@b c@d"), re.sub(r"\d", "#", "a1b2"), re.split(r"[,;]", "a,b;c")
# %% match object
re.search(r"(?P<year>\d{4})-(?P<m>\d\d)", "on 2024-05-01")
# %% groups
re.search(r"(?P<year>\d{4})", "2024").groupdict(), re.match("x", "y")
# %% verbose pattern
re.compile(
    r"""
  a  # first
  b
""",
    re.VERBOSE,
)
# %% dates
import datetime as dt

d = dt.datetime(2024, 2, 28, 23, 30)
d + dt.timedelta(hours=1), d.isoformat(), d.strftime("%A %d %B %Y")
# %% date difference
dt.date(2024, 3, 1) - dt.date(2024, 2, 1), dt.date(2024, 3, 1).weekday()
# %% time zones
import zoneinfo

dt.datetime(2024, 7, 1, tzinfo=zoneinfo.ZoneInfo("UTC"))
# %% calendar
import calendar

print(calendar.month(2024, 2))
calendar.isleap(2024)
# %% collections
from collections import Counter, OrderedDict, defaultdict, deque, ChainMap

Counter("hello").most_common(2), Counter(a=3) - Counter(a=1)
# %% default dict groups
g = defaultdict(list)
for w in ["apple", "bob", "ant"]:
    g[w[0]].append(w)
g
# %% default dict nested
tree = lambda: defaultdict(tree)
t = tree()
t["a"]["b"] = 1
t
# %% default dict with a lambda
defaultdict(lambda: 5, a=1)
# %% deque
q = deque([1, 2, 3])
q.appendleft(0)
q.rotate(1)
q
# %% ordered dict
o = OrderedDict(b=1, a=2)
o.move_to_end("b")
o, list(o)
# %% long ordered dict
OrderedDict((f"key number {n}", n) for n in range(8))
# %% counter in a dict
{"c": Counter("aab"), "d": defaultdict(int, x=1), "q": deque([1])}
# %% heap and bisect
import heapq, bisect

h = [5, 1, 3]
heapq.heapify(h)
heapq.heappop(h), heapq.nlargest(2, [1, 5, 3]), bisect.bisect([1, 3, 5], 3)
# %% statistics
import statistics

statistics.mean([1, 2, 3, 4]), statistics.stdev([1, 2, 3]), statistics.mode("aab")
# %% statistics of fractions
from fractions import Fraction

statistics.mean([Fraction(1, 2), Fraction(1, 3)])
# %% decimal
from decimal import Decimal, getcontext

getcontext().prec = 10
Decimal(1) / Decimal(7), Decimal("0.1") + Decimal("0.2")
# %% decimal context
getcontext()
# %% math
import math

math.pi, math.factorial(20), math.gcd(12, 18), math.isclose(0.1 + 0.2, 0.3), math.comb(5, 2), math.inf
# %% math domain
math.sqrt(-1)
# %% complex math
import cmath

cmath.sqrt(-1), cmath.polar(1j)
# %% random
import random

random.seed(1)
[random.randint(1, 6) for _ in range(5)], random.gauss(0, 1)
# %% string
import string

string.ascii_lowercase, string.punctuation, string.capwords("a b")
# %% text wrapping
import textwrap

textwrap.wrap("The quick brown fox", 10), textwrap.dedent("  a\n  b"), textwrap.shorten("a b c d", 5)
# %% difflib
import difflib

print("\n".join(difflib.unified_diff(["a", "b"], ["a", "c"], lineterm="")))
difflib.get_close_matches("appel", ["apple", "ape"])
# %% unicode
import unicodedata

unicodedata.name("é"), unicodedata.normalize("NFD", "é"), "é" == unicodedata.normalize("NFC", "e\u0301")
# %% struct
import struct

struct.pack(">IH", 1, 2), struct.unpack("<H", b"\x01\x00"), struct.calcsize("ih")
# %% base64 and hash
import base64, hashlib, zlib, binascii

base64.b64encode(b"hi"), hashlib.sha256(b"hi").hexdigest(), zlib.crc32(b"hi"), hashlib.md5(b"").hexdigest()
# %% hash object
hashlib.md5()
# %% uuid
import uuid

uuid.uuid5(uuid.NAMESPACE_DNS, "python.org")
# %% secrets
import secrets

len(secrets.token_hex(4))
# %% paths
from pathlib import Path

p = Path("dir/sub")
p.mkdir(parents=True, exist_ok=True)
(p / "f.txt").write_text("hello")
sorted(Path("dir").rglob("*"))
# %% path parts
p.parent, (p / "f.txt").suffix, (p / "f.txt").stem, p.exists(), Path("/a/../b").resolve() == Path("/b")
# %% os
import os

os.path.join("a", "b"), os.path.splitext("a.tar.gz"), os.sep, os.path.basename("/x/y")
# %% walk
[(os.path.basename(r), ds, fs) for r, ds, fs in os.walk("dir")]
# %% stat
os.stat("dir/sub/f.txt").st_size, os.path.isfile("dir")
# %% shutil
import shutil

shutil.copy("dir/sub/f.txt", "g.txt"), shutil.rmtree("dir"), os.path.exists("dir")
# %% glob
import glob

open("x1.dat", "w").close()
open("x2.dat", "w").close()
sorted(glob.glob("x*.dat"))
# %% temporary files
import tempfile

with tempfile.NamedTemporaryFile("w+") as f:
    f.write("t")
    f.seek(0)
    print(f.read())
# %% temporary folder
with tempfile.TemporaryDirectory() as folder:
    print(os.path.isdir(folder))
# %% file object
f = open("g.txt")
f
# %% file lines
f.readlines(), f.closed, f.close(), f.closed
# %% binary file
open("b.bin", "wb").write(bytes(range(5)))
open("b.bin", "rb").read()
# %% csv
import csv, io

s = io.StringIO()
w = csv.writer(s)
w.writerow(["a", "b,c"])
w.writerow([1, 'q"'])
s.getvalue()
# %% csv reader
list(csv.DictReader(io.StringIO("a,b\n1,2\n")))
# %% configparser
import configparser

c = configparser.ConfigParser()
c.read_string("[s]\na = 1")
c["s"].getint("a"), c.sections(), c["s"]
# %% toml
import tomllib

tomllib.loads("a = 1\n[t]\nb = [1, 2]")
# %% sqlite
import sqlite3

db = sqlite3.connect(":memory:")
db.execute("create table t(a, b)")
db.executemany("insert into t values (?, ?)", [(1, "x"), (2, "y")])
db.execute("select * from t").fetchall()
# %% sqlite cursor
db.execute("select 1")
# %% sqlite error
db.execute("select * from missing")
# %% sqlite row
db.row_factory = sqlite3.Row
r = db.execute("select * from t").fetchone()
dict(r), r.keys(), r["b"]
# %% xml
import xml.etree.ElementTree as ET

root = ET.fromstring("<a><b k='v'>t</b></a>")
root, root.find("b").attrib, ET.tostring(root)
# %% html
import html

html.escape("<a & b>"), html.unescape("&eacute;")
# %% urls
from urllib.parse import urlparse, quote, parse_qs, urlencode

urlparse("https://u@h:8/p?q=1#f"), quote("a b/é"), parse_qs("a=1&a=2"), urlencode({"k": "v w"})
# %% email
from email.message import EmailMessage

m = EmailMessage()
m["Subject"] = "s"
m.set_content("body")
print(m)
# %% zip
import zipfile

with zipfile.ZipFile("z.zip", "w") as z:
    z.writestr("a.txt", "hi")
zipfile.ZipFile("z.zip").namelist(), zipfile.ZipFile("z.zip")
# %% tar
import tarfile

with tarfile.open("t.tar", "w") as t:
    t.add("g.txt")
tarfile.open("t.tar").getnames()
# %% gzip
import gzip

gzip.decompress(gzip.compress(b"data"))
# %% pickle and shelve
import pickle, shelve

with shelve.open("sh") as sh:
    sh["a"] = [1]
with shelve.open("sh") as sh:
    print(dict(sh))
# %% copyreg marshal
import marshal

marshal.loads(marshal.dumps([1, "a"]))
# %% operator
import operator

operator.itemgetter(1)([5, 6]), operator.attrgetter("real")(3), operator.mul(2, 3), operator.itemgetter(1)
# %% time
import time

time.gmtime(0), time.strftime("%Y-%m-%d", time.gmtime(86400)), time.sleep(0.001)
# %% measuring
t = time.perf_counter()
t2 = time.perf_counter()
t2 >= t
# %% platform
import platform, sys

platform.system(), sys.version_info.major, sys.platform, platform.python_implementation()
# %% environment
os.environ["NEW_VAR"] = "1"
os.getenv("NEW_VAR"), os.environ.get("MISSING"), "PATH" in os.environ
# %% processes
import subprocess

subprocess.run(["sh", "-c", "echo $NEW_VAR"], capture_output=True, text=True)
# %% completed process
subprocess.run("exit 2", shell=True, capture_output=True)
# %% pipe
p = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
p.communicate("in")
# %% python version of a child
subprocess.run([sys.executable, "-c", "print('child python')"], capture_output=True, text=True).stdout
# %% shlex
import shlex

shlex.split("a 'b c' d"), shlex.quote("it's")
# %% logging to a file
import logging

logging.basicConfig(filename="log.txt", level=logging.INFO, force=True)
logging.info("hello")
open("log.txt").read()
# %% logging to the console
logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", force=True)
logging.info("shown")
logging.debug("not shown")
# %% logging again in another cell
logging.warning("again")
# %% logger names
logging.getLogger("a.b"), logging.getLogger()
# %% warnings
import warnings

warnings.simplefilter("always")
warnings.warn("w1")
warnings.warn("w2", DeprecationWarning)
# %% warnings ignored
warnings.filterwarnings("ignore")
warnings.warn("hidden")
# %% warnings back
warnings.resetwarnings()
# %% pprint
import pprint

pprint.pprint({"z": 1, "a": [list(range(15)), {"k": "v" * 30}]}, width=50)
pprint.pformat([1])
# %% pprint of a dataclass
from dataclasses import dataclass

@dataclass
class D:
    a: int
    b: list

pprint.pprint(D(1, ["x" * 30] * 3))
# %% reprlib
import reprlib

reprlib.repr(list(range(100)))
# %% inspect
import inspect

inspect.isfunction(len), inspect.signature(lambda a, *b, c=1: 0), inspect.getmembers(D(1, []))[-2:]
# %% ast
import ast

ast.dump(ast.parse("1 + x", mode="eval")), ast.literal_eval("[1, {'a': None}]"), ast.unparse(ast.parse("x=1"))
# %% dis
import dis

dis.dis(lambda x: x)
# %% tokenize
import tokenize

[t.string for t in tokenize.generate_tokens(io.StringIO("a = 1").readline)]
# %% timeit
import timeit

timeit.timeit("1 + 1", number=10) >= 0
# %% tracemalloc
import tracemalloc

tracemalloc.start()
b = [0] * 1000
tracemalloc.get_traced_memory()[0] > 0, tracemalloc.stop()
# %% gc
import gc

gc.isenabled(), type(gc.collect())
# %% weakref finalize
import weakref

class Obj:
    pass

o = Obj()
weakref.finalize(o, print, "finalised")
del o
# %% contextlib redirect
import contextlib

with contextlib.redirect_stdout(io.StringIO()) as s:
    print("in")
    help(len)
s.getvalue()[:20]
# %% getpass
import getpass

type(getpass.getuser())
# %% socket pair
import socket

a, b = socket.socketpair()
a.send(b"x")
b.recv(1), a.close(), b.close()
# %% select and mmap
import mmap

m = mmap.mmap(-1, 10)
m[:2] = b"ab"
m[:3], m.close()
# %% ctypes
import ctypes

ctypes.c_int(5), ctypes.sizeof(ctypes.c_long), ctypes.c_int
# %% array and memory
import array

array.array("d", [1.5]), memoryview(b"ab").tolist()
# %% graph
import graphlib

list(graphlib.TopologicalSorter({"b": {"a"}, "c": {"b"}}).static_order())
# %% types
import types

types.FunctionType, types.new_class("N"), types.SimpleNamespace(a=1)
# %% numbers and abc
import numbers, collections.abc

isinstance(5, numbers.Integral), isinstance([], collections.abc.Sequence), collections.abc.Mapping
# %% locale and gettext
import gettext

gettext.gettext("x")
# %% sched
import sched

s = sched.scheduler()
s.enter(0, 1, print, ("scheduled",))
s.run()
# %% fnmatch and stat
import fnmatch

fnmatch.filter(["a.py", "b.txt"], "*.py")
# %% linecache
import linecache

linecache.getline("g.txt", 1)
# %% code module
import code

code.InteractiveInterpreter({}).runsource("print(6 * 7)")
# %% runpy
open("r.py", "w").write("x = 5\nprint(__name__)\n")
import runpy

runpy.run_path("r.py")["x"]
# %% venv of the interpreter
sys.prefix != "", sys.executable != ""
# %% stdin
sys.stdin.read()
# %% curses import
import curses
# %% tkinter is not needed
import importlib.util

importlib.util.find_spec("json").name
# %% pkgutil
import pkgutil

"json" in [m.name for m in pkgutil.iter_modules()]
# %% metadata
import importlib.metadata

importlib.metadata.version("numpy") == __import__("numpy").__version__
# %% help topics
help("len")
# %% pydoc text
import pydoc

pydoc.render_doc(len, renderer=pydoc.plaintext)[:30]
# %% copyright
copyright
# %% credits repr
repr(credits)[:20]
