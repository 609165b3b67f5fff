# %% integer
42
# %% negative
-7
# %% large integer
2**200
# %% float
0.1 + 0.2
# %% float forms
[1e300, 1e-300, float("inf"), float("-inf"), float("nan"), -0.0, 1.0]
# %% complex
(1 + 2j) * 3
# %% text
"it's"
# %% text of two lines
"a\nb"
# %% long text
"word " * 60
# %% bytes
b"\x00\xffabc"
# %% None shows nothing
None
# %% booleans
True, False
# %% ellipsis
...
# %% not implemented
NotImplemented
# %% empty containers
[], (), {}, set(), frozenset(), ""
# %% tuple of one
(1,)
# %% set of texts
{"pear", "apple", "fig"}
# %% set of numbers
{3, 1, 2, 10}
# %% set of mixed values
{1, "a", None}
# %% frozen set
frozenset("hello")
# %% empty frozen set
frozenset()
# %% set inside a list
[{"b", "a"}, {"d", "c"}]
# %% set inside a dict
{"k": {"z", "y"}, "f": frozenset({"q", "p"})}
# %% a type
int
# %% types in a list
[int, str, list, dict]
# %% types in a dict
{"a": int, "b": float}
# %% types in a tuple
(type(1), type("a"))
# %% nested types
[[str], (bytes, {"x": bool})]
# %% none type
type(None)
# %% function
def f(x, y=2, *args, key=None, **rest):
    return x

f
# %% function in a list
[f, f]
# %% lambda
lambda x: x + 1
# %% builtin function
len
# %% builtins in a list
[len, print, max]
# %% method of a value
"abc".upper
# %% unbound method
str.upper
# %% bound method of a list
[].append
# %% generator
(x for x in range(3))
# %% range
range(10)
# %% range with a step
range(0, 10, 2)
# %% slice
slice(1, 10, 2)
# %% iterator
iter([1, 2])
# %% zip and map
zip([1], [2]), map(str, [1]), filter(None, [1]), enumerate([1]), reversed([1])
# %% module
import math

math
# %% modules in a list
import json

[math, json]
# %% long list
list(range(100))
# %% list of 79 characters
["a" * 73]
# %% list of 80 characters
["a" * 76]
# %% list just too long
["aaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbb", "cccccccccccccccccc", "ddddddddddd"]
# %% list just short enough
["aaaaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbbbbbb", "cccccccccccccccccc", "dddddddd"]
# %% list of more than a thousand
list(range(1500))
# %% long dict
{f"key{n}": n * n for n in range(30)}
# %% nested dict
{"a": {"b": {"c": list(range(30))}}, "d": ["x" * 30, "y" * 30, "z" * 30]}
# %% list of lists
[[i * j for j in range(8)] for i in range(8)]
# %% list of long texts
["lorem ipsum dolor sit amet " * 3] * 3
# %% list of texts with line ends
["a\nb", "c\nd"]
# %% long tuple
tuple(range(60))
# %% long set
set(range(60))
# %% list of dicts
[{"name": "Ann", "age": 31, "city": "Oslo"}, {"name": "Bob", "age": 25, "city": "Rome"}, {"name": "Cy", "age": 47}]
# %% dict of tuples
{(1, 2): "a", (3, 4): "b"}
# %% dict with mixed keys
{1: "a", "b": 2, None: 3, (4,): [5]}
# %% list that contains itself
loop = [1]
loop.append(loop)
loop
# %% dict that contains itself
ring = {}
ring["self"] = ring
ring
# %% deep list
deep = []
for depth in range(60):
    deep = [deep]
deep
# %% ordered dict
from collections import ChainMap, Counter, OrderedDict, UserDict, UserList, UserString, defaultdict, deque, namedtuple

OrderedDict(a=1, b=2)
# %% counter
Counter("mississippi")
# %% long counter
Counter("the quick brown fox jumps over the lazy dog and runs away from the bear in the wood".split())
# %% default dict
d = defaultdict(list)
d["a"].append(1)
d
# %% default dict of int
defaultdict(int, {"x": 3})
# %% deque
deque([1, 2, 3], maxlen=5)
# %% deque that contains itself
q = deque([1])
q.append(q)
q
# %% named tuple
Point = namedtuple("Point", "x y")
Point(1, 2)
# %% named tuples in a list
[Point(1, 2), Point(3, 4)]
# %% long list of named tuples
[Point(n, n * n) for n in range(20)]
# %% chain map
ChainMap({"a": 1}, {"b": 2})
# %% user containers
UserDict(a=1), UserList([1, 2]), UserString("abc")
# %% subclass of list
class Stack(list):
    pass

Stack([1, 2, 3])
# %% long subclass of list
Stack(range(50))
# %% subclass of dict
class Config(dict):
    pass

Config(a=1, b=[1, 2])
# %% long subclass of dict
Config({f"key{n}": "v" * 10 for n in range(12)})
# %% subclass with a repr
class Named(list):
    def __repr__(self):
        return f"Named<{len(self)}>"

Named([1, 2])
# %% those in a list
[Named([1]), Named([])]
# %% subclasses of scalars
class Meters(float):
    pass

class Name(str):
    pass

[Meters(1.5), Name("x")], Meters(2.5)
# %% mapping proxy
import types

types.MappingProxyType({"a": 1})
# %% simple namespace
types.SimpleNamespace(a=1, b="x")
# %% long simple namespace
types.SimpleNamespace(**{f"attribute{n}": "v" * 12 for n in range(8)})
# %% dict views
{"a": 1}.keys(), {"a": 1}.values(), {"a": 1}.items()
# %% long dict view
{f"key{n}": n for n in range(40)}.items()
# %% os environ type
import os

type(os.environ)
# %% exception value
ValueError("bad", 3)
# %% exceptions in a list
[KeyError("k"), OSError(2, "No such file")]
# %% exception class
ValueError
# %% date and time
import datetime as dt

dt.datetime(2024, 2, 29, 12, 30), dt.date(2024, 1, 1), dt.timedelta(days=1, seconds=5), dt.timezone.utc
# %% decimal and fraction
from decimal import Decimal
from fractions import Fraction

Decimal("1.10"), Fraction(3, 4)
# %% path
from pathlib import Path, PurePosixPath

Path("a/b.txt"), PurePosixPath("/etc")
# %% compiled pattern
import re

re.compile(r"a+\d", re.I | re.M)
# %% long pattern
re.compile("|".join(f"word{n}" for n in range(60)))
# %% match
re.match("(a)(b)?", "abc")
# %% enum
import enum

class Color(enum.Enum):
    RED = 1
    GREEN = 2

Color.RED
# %% enum class
Color
# %% enum members
list(Color)
# %% flags
class Perm(enum.Flag):
    R = 4
    W = 2

Perm.R | Perm.W
# %% int enum
class Level(enum.IntEnum):
    LOW = 1

Level.LOW, {Level.LOW: "x"}
# %% uuid
import uuid

uuid.UUID(int=5)
# %% array
import array

array.array("i", [1, 2, 3])
# %% memory view
memoryview(b"abc")
# %% bytearray
bytearray(b"abc")
# %% struct time
import time

time.gmtime(0)
# %% stat version
import sys

sys.version_info[:2], sys.float_info.max
# %% partial
import functools

functools.partial(int, base=2)
# %% ip address
import ipaddress

ipaddress.ip_network("10.0.0.0/29"), ipaddress.ip_address("::1")
# %% type aliases
list[int], dict[str, int], int | None
# %% typing
import typing

typing.Optional[int], typing.Union[int, str], typing.Any, typing.Callable[[int], str]
# %% type variable
typing.TypeVar("T")
# %% code object
compile("1", "x", "eval")
# %% super object
super(int, 1)
# %% property and descriptors
property(), staticmethod(len), classmethod(len)
# %% object
object()
# %% object in a list
[object()]
# %% weak reference type
import weakref

type(weakref.ref(Color))
# %% assignment shows nothing
x = 5
# %% semicolon shows nothing
x;
# %% semicolon with a comment
x;  # no value
# %% semicolon in a text
"a;"
# %% semicolon inside a comment
x  # semicolon;
# %% several values show the last
1
2
3
# %% values on one line
1; 2; 3
# %% value inside an if
if True:
    5
# %% value in a loop
for n in range(3):
    n
# %% parenthesised
(
    1
    + 2
)
# %% line continuation
1 + \
    2
# %% walrus
(y := 10)
# %% conditional
"a" if x else "b"
# %% chained comparison
1 < 2 < 3
# %% text over lines
"""
multi
line
"""
# %% formatted text
f"{x:>10}|{x!r:^5}|{3.14159:.2f}"
# %% raw text
r"\d+\n"
# %% implicit concatenation
"ab"
# %% starred
[*range(3), *"ab"], {**{"a": 1}, "b": 2}
# %% underscore is the last value
_
# %% underscores
11
# %% underscores again
_, __, ___
# %% value of await
import asyncio

await asyncio.sleep(0, "slept")
# %% only a comment
# nothing here
# %% pass
pass
# %% annotation
z: int = 3
# %% annotation alone
w: int
# %% delete
del z
# %% docstring of a cell
"""A text"""
# %% surrogate
"\ud800"
# %% unprintable
"\x00\x1b[31m\u200b\u202e"
# %% print a surrogate
print(repr("\udc80"))
# %% large power
10**50, -(10**20), 0xFF, 0b101, 1_000_000
# %% printing very large integers
try:
    str(10**5000)
except ValueError as e:
    print(e)
# %% round
round(2.5), round(3.14159, 2), divmod(7, -2), 7 // -2
# %% format numbers
f"{1234567.891:,.2f} {0.000123:e} {255:x} {255:#b} {0.25:.0%}"
# %% hash of a small int
hash(5), hash(True), hash(2**61 - 1)
# %% repr that is long
class Long:
    def __repr__(self):
        return "Long(" + "x" * 200 + ")"

Long()
# %% list of long reprs
[Long(), Long()]
# %% repr of several lines
class Lines:
    def __repr__(self):
        return "Lines(\n  1,\n)"

Lines()
# %% list of those
[Lines(), Lines()]
# %% dict of those
{"a": Lines()}
# %% pretty of its own
class Pretty:
    def _repr_pretty_(self, p, cycle):
        p.text("Pretty!")

Pretty()
# %% those in a list
[Pretty(), {"k": Pretty()}]
# %% object with a str only
class OnlyStr:
    def __str__(self):
        return "str"

OnlyStr()
# %% class of cells
OnlyStr
# %% class in containers
[OnlyStr, (OnlyStr,), {"c": OnlyStr}]
# %% metaclass with a repr
class Meta(type):
    def __repr__(cls):
        return f"<{cls.__name__}!>"

class WithMeta(metaclass=Meta):
    pass

WithMeta
# %% class of the standard library
import collections

collections.OrderedDict, dt.datetime, Path
# %% instance of a plain class
class Plain:
    pass

Plain()
# %% instance with a long module
import unittest

unittest.TestCase
# %% exception group
ExceptionGroup("several", [ValueError(1), TypeError(2)])
