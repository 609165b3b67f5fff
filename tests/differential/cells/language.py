# %% class
class Animal:
    kind = "animal"

    def __init__(self, name):
        self.name = name

    def speak(self):
        return f"{self.name} speaks"

Animal("Rex").speak()
# %% inheritance
class Dog(Animal):
    def speak(self):
        return super().speak() + " woof"

Dog("Rex").speak(), Dog.__mro__
# %% module of a class
Dog.__module__, Dog.__qualname__, repr(Dog)
# %% instance
Dog("Rex")
# %% instances in a list
[Dog("a"), Dog("b")]
# %% instance dict
vars(Dog("Rex"))
# %% dataclass
from dataclasses import asdict, dataclass, field, fields, replace

@dataclass
class Point:
    x: int
    y: int = 0
    tags: list = field(default_factory=list)

Point(1)
# %% dataclasses in a list
[Point(1, 2), Point(3, tags=["a"])]
# %% long list of dataclasses
[Point(n, n * 2) for n in range(10)]
# %% wide dataclass
@dataclass
class Wide:
    first_attribute_name: str
    second_attribute_name: str
    third_attribute_name: str
    fourth: list

Wide("value one", "value two", "value three", list(range(20)))
# %% dataclass functions
asdict(Point(1)), replace(Point(1), y=5), [f.name for f in fields(Point)]
# %% frozen and ordered
@dataclass(frozen=True, order=True)
class V:
    n: int

sorted([V(3), V(1)]), hash(V(1)) == hash(V(1)), {V(1): "a"}
# %% slots
@dataclass(slots=True)
class S:
    a: int

S(1)
# %% named tuple class
from typing import NamedTuple

class Emp(NamedTuple):
    name: str
    id: int = 3

Emp("a"), Emp._fields
# %% typed dict
from typing import TypedDict

class Movie(TypedDict):
    name: str

Movie(name="x"), Movie
# %% enum
import enum

class Color(enum.Enum):
    RED = "r"
    BLUE = "b"

Color.RED, Color("b"), Color["RED"].value, list(Color)
# %% auto
class Auto(enum.Enum):
    A = enum.auto()
    B = enum.auto()

list(Auto)
# %% str enum
class Suit(str, enum.Enum):
    HEART = "h"

Suit.HEART, f"{Suit.HEART}", Suit.HEART == "h"
# %% property
class Circle:
    def __init__(self, r):
        self.r = r

    @property
    def area(self):
        return round(3.14159 * self.r**2, 2)

    @area.setter
    def area(self, v):
        self.r = (v / 3.14159) ** 0.5

c = Circle(2)
c.area
# %% class and static methods
class K:
    n = 0

    @classmethod
    def make(cls):
        cls.n += 1
        return cls()

    @staticmethod
    def add(a, b):
        return a + b

K.make(), K.n, K.add(1, 2), K.make
# %% operators
class Vec:
    def __init__(self, *v):
        self.v = v

    def __add__(self, o):
        return Vec(*(a + b for a, b in zip(self.v, o.v)))

    def __eq__(self, o):
        return self.v == o.v

    def __len__(self):
        return len(self.v)

    def __getitem__(self, i):
        return self.v[i]

    def __repr__(self):
        return f"Vec{self.v}"

    def __bool__(self):
        return any(self.v)

    def __call__(self, k):
        return Vec(*(k * a for a in self.v))

Vec(1, 2) + Vec(3, 4), Vec(1) == Vec(1), Vec(1, 2)(3), list(Vec(5, 6)), Vec(1, 2)[0]
# %% format
class F:
    def __format__(self, spec):
        return f"<{spec}>"

f"{F():abc}", format(F(), "x")
# %% descriptors
class Positive:
    def __set_name__(self, owner, name):
        self.name = "_" + name

    def __get__(self, o, t=None):
        return getattr(o, self.name, None)

    def __set__(self, o, v):
        if v < 0:
            raise ValueError("negative")
        setattr(o, self.name, v)

class Account:
    balance = Positive()

a = Account()
a.balance = 5
a.balance
# %% descriptor refuses
a.balance = -1
# %% metaclass
class Meta(type):
    registry = []

    def __new__(m, name, bases, ns):
        cls = super().__new__(m, name, bases, ns)
        m.registry.append(name)
        return cls

class R1(metaclass=Meta):
    pass

Meta.registry, type(R1), R1
# %% init subclass
class Base:
    subs = []

    def __init_subclass__(cls, **kw):
        super().__init_subclass__()
        Base.subs.append((cls.__name__, kw))

class Sub(Base, tag="x"):
    pass

Base.subs
# %% abstract
from abc import ABC, abstractmethod

class Shape(ABC):
    @abstractmethod
    def area(self):
        pass

class Sq(Shape):
    def area(self):
        return 4

Sq().area(), Shape.__abstractmethods__
# %% protocol
from typing import Protocol, runtime_checkable

@runtime_checkable
class Quacks(Protocol):
    def quack(self): ...

class Duck:
    def quack(self):
        pass

isinstance(Duck(), Quacks), isinstance(5, Quacks)
# %% generic
from typing import Generic, TypeVar

T = TypeVar("T")

class Box(Generic[T]):
    def __init__(self, v: T):
        self.v = v

Box[int], Box[int](3).v
# %% type hints
import typing

def hinted(a: int, b: "Point" = None) -> list[str]: ...

typing.get_type_hints(hinted)
# %% signature
import inspect

inspect.signature(hinted)
# %% source of a function
print(inspect.getsource(hinted))
# %% source of a class
print(inspect.getsource(Duck))
# %% doc
inspect.getdoc(Animal), Animal.__doc__
# %% closure
def counter():
    n = 0

    def inc():
        nonlocal n
        n += 1
        return n

    return inc

c1 = counter()
c1()
c1()
# %% closure cells
c1.__closure__[0].cell_contents
# %% late binding
[f() for f in [lambda: i for i in range(3)]]
# %% default arguments
def app(x, acc=[]):
    acc.append(x)
    return acc

app(1)
app(2)
# %% decorator
import functools

def loud(f):
    @functools.wraps(f)
    def w(*a, **k):
        print("calling", f.__name__)
        return f(*a, **k)

    return w

@loud
def hi(name="you"):
    """Say hi."""
    return f"hi {name}"

hi("me")
# %% decorated
hi, hi.__name__, hi.__doc__, hi.__wrapped__
# %% decorator with arguments
def times(n):
    def deco(f):
        return lambda *a: [f(*a) for _ in range(n)]

    return deco

@times(2)
def one():
    return 1

one()
# %% class decorator
def tagged(cls):
    cls.tag = "T"
    return cls

@tagged
class Tagged:
    pass

Tagged.tag
# %% cache
@functools.lru_cache(maxsize=None)
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)

fib(80), fib.cache_info()
# %% cached function
fib
# %% cached property
class CP:
    @functools.cached_property
    def v(self):
        print("computed")
        return 1

o = CP()
o.v, o.v
# %% single dispatch
@functools.singledispatch
def kind(x):
    return "other"

@kind.register
def _(x: int):
    return "int"

@kind.register(str)
def _(x):
    return "str"

kind(1), kind("a"), kind(1.0)
# %% reduce and partial
functools.reduce(lambda a, b: a * b, [1, 2, 3, 4]), functools.partial(pow, 2)(5)
# %% total ordering
@functools.total_ordering
class O:
    def __init__(self, n):
        self.n = n

    def __lt__(self, o):
        return self.n < o.n

    def __eq__(self, o):
        return self.n == o.n

O(1) <= O(2), O(2) >= O(1)
# %% generator
def gen():
    x = yield 1
    print("got", x)
    yield 2

g = gen()
next(g), g.send("hello")
# %% generator object
g
# %% generator return
def sub():
    yield 1
    return "done"

def main():
    r = yield from sub()
    print(r)

list(main())
# %% throw
def catcher():
    while True:
        try:
            yield
        except ValueError as e:
            print("caught", e)

k = catcher()
next(k)
k.throw(ValueError("v"))
# %% close
def closing():
    try:
        yield 1
    finally:
        print("closed")

z = closing()
next(z)
z.close()
# %% itertools
import itertools as it

list(it.islice(it.count(5, 2), 3)), list(it.chain("ab", "c")), list(it.combinations("abc", 2))
# %% more itertools
[(k, list(v)) for k, v in it.groupby("aabbb")], list(it.accumulate([1, 2, 3])), list(it.zip_longest("ab", "c"))
# %% product
list(it.product("ab", [1, 2]))
# %% pairwise
list(it.pairwise("abcd")), list(it.permutations([1, 2, 3], 2))
# %% iterator class
class Count:
    def __init__(self, n):
        self.n = n

    def __iter__(self):
        return self

    def __next__(self):
        if self.n <= 0:
            raise StopIteration
        self.n -= 1
        return self.n

list(Count(3)), sum(Count(4))
# %% context manager
class CM:
    def __enter__(self):
        print("enter")
        return "v"

    def __exit__(self, t, v, tb):
        print("exit", t.__name__ if t else None)
        return t is ValueError

with CM() as v:
    print(v)
with CM():
    raise ValueError
# %% contextlib
import contextlib

@contextlib.contextmanager
def cm():
    print("in")
    try:
        yield 5
    finally:
        print("out")

with cm() as v:
    print(v)
# %% nested with
with cm() as a, cm() as b:
    print(a + b)
# %% match
def m(x):
    match x:
        case 0:
            return "zero"
        case [a, b]:
            return f"two {a} {b}"
        case {"k": v}:
            return f"map {v}"
        case Point(x=1, y=y):
            return f"point {y}"
        case str() as s if s:
            return f"text {s}"
        case _:
            return "other"

[m(x) for x in (0, [1, 2], {"k": 3}, Point(1, 9), "q", None)]
# %% comprehension
{k: v for k, v in zip("abc", range(3))}, {x % 3 for x in range(10)}, [y for x in [[1], [2, 3]] for y in x]
# %% scope of a comprehension
x = "outer"
[x for x in range(3)], x
# %% class scope
class Scope:
    a = 1
    b = [a for _ in range(2)] if False else a

Scope.b
# %% comprehension in a class body
class ScopeError:
    a = 1
    b = [a for _ in range(2)]

ScopeError.b
# %% global
total = 0

def bump():
    global total
    total += 1

bump()
bump()
total
# %% del and unbound
def unb():
    print(q)
    q = 1

unb()
# %% unpacking
first, *rest, last = range(5)
first, rest, last
# %% swap
p, q = 1, 2
p, q = q, p
p, q
# %% walrus
if (n := len("abc")) > 2:
    print(n)
[y := 5, y**2]
# %% positional only
def po(a, /, b, *, c):
    return a, b, c

po(1, 2, c=3)
# %% positional only by keyword
po(a=1, b=2, c=3)
# %% star arguments
def st(*a, **k):
    return a, k

st(*[1, 2], **{"x": 3}), st(*"ab", 5)
# %% lambda forms
(lambda *a, k=1: (a, k))(1, 2, k=3), sorted(["bb", "a"], key=len), max([3, 9], key=lambda x: -x)
# %% for else
for i in range(3):
    if i == 5:
        break
else:
    print("no break")
# %% while else
i = 0
while i < 2:
    i += 1
else:
    print("end", i)
# %% try forms
def t(x):
    try:
        r = 10 / x
    except ZeroDivisionError:
        return "zero"
    except (TypeError, ValueError) as e:
        return type(e).__name__
    else:
        return r
    finally:
        print("fin")

t(0), t(2), t("a")
# %% assert optimised
__debug__
# %% string methods
"Hello".center(11, "*"), "a,b".split(","), " x ".strip(), "abc"[::-1], "aXb".swapcase(), "ß".upper()
# %% f strings
v = 3.14159
f"{v:.2f} {v!r} {v=} {'nested ' + str(1)} {{}} {v:>{10}}"
# %% bytes
b"abc".hex(), bytes.fromhex("6162"), "é".encode(), b"a" + b"b", list(b"ab")
# %% slicing
l = list(range(10))
l[2:5], l[::-3], l[-1], l[slice(1, 3)]
# %% list methods
l = [3, 1]
l.extend([2])
l.sort()
l.insert(0, 9)
l.pop(), l, l.index(1), l.count(9)
# %% dict methods
d = {"a": 1}
d.setdefault("b", []).append(1)
d.update(c=3)
d | {"z": 0}, d.pop("a"), d.get("q", "no"), list(d.items())
# %% set operations
{1, 2} | {3}, {1, 2} & {2}, {1, 2} - {2}, {1} ^ {2}, {1} <= {1, 2}
# %% integers
int("ff", 16), (255).to_bytes(2, "big"), bin(10), (10).bit_length(), pow(3, -1, 7), (7).__add__(1)
# %% floats
0.1 + 0.2 == 0.3, float.hex(0.5), (0.75).as_integer_ratio(), float("1e400"), round(-0.5)
# %% truth
bool([]), not None, 1 and "x", 0 or "y", all([]), any([])
# %% sorting
sorted([("b", 2), ("a", 2), ("c", 1)], key=lambda t: (t[1], t[0])), sorted("bca", reverse=True)
# %% exec with a namespace
ns = {}
exec("a = 1\ndef f(): return a", ns)
ns["f"]()
# %% eval of locals
def ev():
    z = 3
    return eval("z + 1")

ev()
# %% exec defines a name
exec("made_by_exec = 7")
made_by_exec
# %% compile and run
code = compile("r = 6 * 7", "<mine>", "exec")
exec(code)
r
# %% globals and locals
"made_by_exec" in globals(), globals() is locals(), __name__
# %% dir has names
"Point" in dir(), "print" in dir(__builtins__)
# %% dunder names
__doc__, __name__, __package__ if "__package__" in globals() else "none"
# %% file is not defined
__file__
# %% builtins patched
import builtins

builtins.my_builtin = 5
my_builtin
# %% shadowed builtin
list_before = list
list = 5
list
# %% restore it
del list
list("ab")
# %% print shadowed
_print = print

def print(*a):
    _print("mine:", *a)

print("x")
# %% print restored
del print
print("y")
# %% getattr and setattr
class G:
    pass

g = G()
setattr(g, "x", 1)
getattr(g, "x"), hasattr(g, "y"), getattr(g, "y", "none")
# %% isinstance
isinstance(True, int), issubclass(bool, int), type(type), callable(len)
# %% id and is
a = []
b = a
a is b, id(a) == id(b), [] is []
# %% copy
import copy

o = {"l": [1]}
s, dcp = copy.copy(o), copy.deepcopy(o)
o["l"].append(2)
s, dcp
# %% pickle
import pickle

pickle.loads(pickle.dumps({"a": (1, 2)}))
# %% pickle of a class of a cell
pickle.loads(pickle.dumps(Point(5, 6)))
# %% pickle of an enum
pickle.loads(pickle.dumps(Color.RED)) is Color.RED
# %% pickle of a function
pickle.loads(pickle.dumps(fib)) is fib
# %% pickle of a lambda
pickle.dumps(lambda: 1)
# %% deep copy of an instance
copy.deepcopy(Dog("d")).name
# %% weak references
import weakref

class W:
    pass

w = W()
ref = weakref.ref(w)
ref() is w
# %% weak reference gone
del w
import gc

gc.collect()
ref() is None
# %% context variables
import contextvars

var = contextvars.ContextVar("var", default="default")
token = var.set("set")
var.get()
# %% in the next cell
var.get()
# %% reset of it
var.reset(token)
var.get()
# %% copied context
ctx = contextvars.copy_context()
ctx.run(var.set, "inner")
var.get(), ctx[var]
# %% threads
import threading

results = []
ts = [threading.Thread(target=lambda n=n: results.append(n * n)) for n in range(4)]
[t.start() for t in ts]
[t.join() for t in ts]
sorted(results)
# %% thread output
def work():
    print("from the thread")

t = threading.Thread(target=work)
t.start()
t.join()
# %% thread error
def boom():
    raise ValueError("in the thread")

t = threading.Thread(target=boom, name="boom")
t.start()
t.join()
print("after")
# %% pool of threads
from concurrent.futures import ThreadPoolExecutor

with ThreadPoolExecutor(3) as pool:
    r = list(pool.map(lambda x: x * 2, range(5)))
r
# %% future error
with ThreadPoolExecutor(1) as pool:
    f = pool.submit(lambda: 1 / 0)
f.result()
# %% lock
lock = threading.Lock()
with lock:
    print(lock.locked())
lock.locked()
# %% queue
import queue

qq = queue.Queue()
qq.put(1)
qq.get(), qq.empty()
# %% main thread
threading.current_thread() is threading.main_thread()
# %% process pool
import multiprocessing as mp

def sq(x):
    return x * x

with mp.get_context("fork").Pool(2) as pool:
    r = pool.map(sq, range(4))
r
# %% timer
t = threading.Timer(0.05, print, ["timer"])
t.start()
t.join()
# %% sys
import sys

sys.getrecursionlimit() >= 1000, sys.byteorder, sys.maxsize, type(sys.argv)
# %% excepthook is not used
sys.excepthook = lambda *a: print("hook")
1 / 0
# %% trace function
calls = []

def tracer(frame, event, arg):
    if event == "call" and frame.f_code.co_name == "traced":
        calls.append(event)

def traced():
    return 1

sys.settrace(tracer)
traced()
sys.settrace(None)
calls
# %% frames
sys._getframe().f_code.co_name
# %% caller
def caller():
    return sys._getframe(1).f_code.co_name

caller()
# %% globals of a frame
inspect.currentframe().f_globals is globals()
# %% stack names
traceback_names = [f.name for f in __import__("traceback").extract_stack()][-1:]
traceback_names
# %% atexit
import atexit

atexit.register(lambda: None) is not None
# %% import forms
import os.path as osp, math as m_, json
from os import path, getcwd

osp is path, m_.pi
# %% star import
from math import *

floor(2.5), pi
# %% module written and imported
open("mymod.py", "w").write("X = 1\ndef f(): return X\n")
import mymod

mymod.f(), mymod
# %% reload
import importlib

open("mymod.py", "w").write("X = 22\ndef f(): return X\n")
importlib.invalidate_caches()
importlib.reload(mymod)
mymod.X
# %% package
os = __import__("os")
os.makedirs("pack", exist_ok=True)
open("pack/__init__.py", "w").write("from .sub import y\n")
open("pack/sub.py", "w").write("y = 'sub'\n")
import pack

pack.y, pack.sub.__name__
# %% error inside an imported module
open("broken.py", "w").write("def g():\n    return 1 / 0\n")
import broken

broken.g()
# %% syntax error in a module
open("badsyn.py", "w").write("def g(:\n")
import badsyn
# %% relative import
from . import something
# %% main
if __name__ == "__main__":
    print("main")
# %% argparse
import argparse

ap = argparse.ArgumentParser()
ap.add_argument("--n", type=int, default=3)
ap.parse_args([]), ap.parse_args(["--n", "5"])
# %% argparse error
ap.parse_args(["--bad"])
# %% unittest
import unittest

class T1(unittest.TestCase):
    def test_a(self):
        self.assertEqual(1, 1)

res = unittest.TextTestRunner(stream=open(os.devnull, "w")).run(unittest.defaultTestLoader.loadTestsFromTestCase(T1))
res
# %% doctest
import doctest

def dt(x):
    """
    >>> dt(2)
    4
    """
    return x * 2

doctest.testmod()
# %% mock
from unittest import mock

with mock.patch("os.getcwd", return_value="/mocked"):
    print(os.getcwd())
m = mock.Mock()
m(1)
m.called, m.call_args
# %% random
import random

random.seed(3)
random.random(), random.randint(1, 10), random.choice("abc"), random.sample(range(10), 3), random.shuffle([1])
# %% time
import time

type(time.time()), time.strftime("%Y", time.gmtime(0))
# %% signals
import signal

signal.getsignal(signal.SIGTERM)
# %% no loop is running outside
import asyncio

type(asyncio).__name__
