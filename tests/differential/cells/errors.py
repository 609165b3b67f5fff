# %% division
1 / 0
# %% name
undefined_name
# %% name with a suggestion
numbers = [1]
number
# %% type
"a" + 1
# %% value
int("abc")
# %% key
{"a": 1}["b"]
# %% index
[1, 2][5]
# %% attribute
"abc".foo
# %% attribute with a suggestion
"abc".uper
# %% attribute of None
None.x
# %% call of a value
5()
# %% missing argument
def f(a, b): pass
f(1)
# %% too many arguments
f(1, 2, 3)
# %% unexpected keyword
f(a=1, c=2)
# %% import
import no_such_module
# %% import of a name
from math import no_such_name
# %% file
open("no-such-file.txt")
# %% assertion
assert 1 == 2
# %% assertion with a message
assert False, "not true"
# %% assertion with values
x = 3
assert x > 5, f"x is {x}"
# %% unpacking
a, b = 1, 2, 3
# %% unpacking too few
a, b = [1]
# %% iteration over a number
for i in 5: pass
# %% recursion
def r(n): return r(n + 1)
r(0)
# %% overflow
2.0 ** 10000
# %% unicode decode
b"\xff".decode("utf-8")
# %% unicode encode
"é".encode("ascii")
# %% stop iteration
next(iter([]))
# %% generator
def g():
    yield 1
    raise RuntimeError("in the generator")
list(g())
# %% key error with a long key
{}["k" * 100]
# %% os error
import os
os.remove("missing")
# %% permission
os.listdir("/no/such/folder")
# %% not implemented
raise NotImplementedError
# %% not implemented with a text
raise NotImplementedError("later")
# %% custom
class MyError(Exception):
    pass
raise MyError("mine")
# %% custom without a message
raise MyError
# %% custom with attributes
class HttpError(Exception):
    def __init__(self, code):
        super().__init__(f"status {code}")
        self.code = code
raise HttpError(404)
# %% custom with str
class Odd(Exception):
    def __str__(self):
        return "odd text"
raise Odd(1, 2)
# %% several arguments
raise ValueError("a", "b", 3)
# %% empty
raise ValueError()
# %% chained
try:
    1 / 0
except ZeroDivisionError as e:
    raise ValueError("while dividing") from e
# %% during handling
try:
    {}["a"]
except KeyError:
    int("z")
# %% from None
try:
    1 / 0
except ZeroDivisionError:
    raise RuntimeError("hidden cause") from None
# %% with a note
e = ValueError("noted")
e.add_note("a note")
raise e
# %% group
raise ExceptionGroup("many", [ValueError(1), KeyError("k")])
# %% except star
try:
    raise ExceptionGroup("g", [ValueError(1), TypeError(2)])
except* ValueError as group:
    print("values", group.exceptions)
# %% reraise
try:
    1 / 0
except ZeroDivisionError:
    raise
# %% raise a class
raise KeyError
# %% raise something else
raise 5
# %% base exception
class Base(BaseException):
    pass
raise Base("base")
# %% keyboard interrupt
raise KeyboardInterrupt
# %% generator exit
raise GeneratorExit
# %% memory
raise MemoryError("none left")
# %% nested function
def outer():
    def inner():
        raise LookupError("deep")
    inner()
outer()
# %% in a lambda
(lambda: 1 / 0)()
# %% in a comprehension
[1 / n for n in (1, 0)]
# %% in a method
class A:
    def m(self):
        return self.missing
A().m()
# %% in init
class B:
    def __init__(self):
        raise TypeError("cannot build")
B()
# %% abstract
import abc
class Shape(abc.ABC):
    @abc.abstractmethod
    def area(self): ...
Shape()
# %% in a property
class C:
    @property
    def p(self):
        raise AttributeError("inside")
C().p
# %% in getattr
class D:
    def __getattr__(self, name):
        raise AttributeError(f"no {name}")
D().thing
# %% in exec
exec("1 +")
# %% in eval
eval("1 / 0")
# %% in a thread
import threading
t = threading.Thread(target=lambda: None)
t.start(); t.join()
# %% json
import json
json.loads("{bad}")
# %% json of a set
json.dumps({1, 2})
# %% regular expression
import re
re.compile("(")
# %% decimal
from decimal import Decimal
Decimal("x")
# %% date
import datetime
datetime.date(2024, 2, 30)
# %% date format
datetime.datetime.strptime("x", "%Y")
# %% struct
import struct
struct.unpack("i", b"a")
# %% enum
import enum
class E(enum.Enum):
    A = 1
E(5)
# %% enum name
E["Z"]
# %% frozen dataclass
from dataclasses import dataclass
@dataclass(frozen=True)
class Frozen:
    x: int
Frozen(1).x = 2
# %% numpy shape
import numpy as np
np.array([1, 2]) + np.array([1, 2, 3])
# %% numpy singular
np.linalg.inv(np.zeros((2, 2)))
# %% numpy index
np.arange(3)[10]
# %% numpy ambiguous
bool(np.array([1, 2]))
# %% pandas column
import pandas as pd
pd.DataFrame({"a": [1]})["b"]
# %% pandas location
pd.DataFrame({"a": [1]}).loc[5]
# %% pandas lengths
pd.DataFrame({"a": [1], "b": [1, 2]})
# %% pandas parse
pd.to_datetime("not a date")
# %% syntax
x = = 5
# %% syntax of an expression
1 +
# %% parenthesis
print("a"
# %% bracket
[1, 2)
# %% text without end
"abc
# %% text over lines without end
"""abc
# %% indentation
def f():
return 1
# %% unexpected indentation
x = 1
  y = 2
# %% dedent
if True:
    x = 1
  y = 2
# %% tabs and spaces
if True:
	x = 1
        y = 2
# %% missing colon
if True
    pass
# %% else alone
else:
    pass
# %% print statement
print "hello"
# %% assignment to a literal
1 = x
# %% assignment to a call
f() = 3
# %% keyword as a name
class = 3
# %% return outside
return 5
# %% break outside
break
# %% continue outside
continue
# %% yield outside
yield 1
# %% nonlocal outside
nonlocal q
# %% global later
def h():
    print(x)
    global x
# %% duplicate argument
def dup(a, a): pass
# %% await in a function
def no(): await x
# %% default before plain
def bad(a=1, b): pass
# %% f-string
f"{"
# %% f-string with an error
f"{1/0}"
# %% bad escape
"\x"
# %% bad unicode escape
"\u12"
# %% invalid character
x = 5 € 3
# %% full width character
print（"hi"）
# %% leading zero
x = 012
# %% bad number
1abc
# %% null byte
compile("a\0b", "x", "exec")
# %% two statements
x = 1 y = 2
# %% star alone
*a
# %% bad decorator
@
def f(): pass
# %% del of a literal
del 5
# %% import star in a function
def f():
    from math import *
# %% future too late
x = 1
from __future__ import annotations
# %% bad future
from __future__ import nothing
# %% async outside
async with x: pass
# %% error on the last line
a = 1
b = 2
c = a / (b - 2)
# %% state survives
a, b
# %% exit
try:
    exit_code = __import__("sys").exit(3)
except SystemExit as e:
    print("exit", e.code)
# %% unraisable
class Bad:
    def __del__(self):
        raise ValueError("in del")
bad = Bad()
del bad
print("goes on")
# %% bad repr
class NoRepr:
    def __repr__(self):
        raise RuntimeError("no repr")
x = NoRepr()
# %% bad str in an error
class NoStr(Exception):
    def __str__(self):
        raise RuntimeError("no str")
raise NoStr
# %% str of an error that is no text
class NoText(Exception):
    def __str__(self):
        return 5
raise NoText
# %% error with several lines
raise ValueError("line 1\nline 2\n")
# %% error with unicode
raise ValueError("é 漢字 🎉")
# %% error with a surrogate
raise ValueError("\udcff")
# %% very long message
raise ValueError("x" * 3000)
# %% last error
import sys
type(sys.last_value).__name__
# %% sys exc info
try:
    1 / 0
except ZeroDivisionError:
    print(sys.exc_info()[0])
# %% no exc info outside
sys.exc_info()
# %% suppress
import contextlib
with contextlib.suppress(KeyError):
    {}["a"]
    print("never")
# %% exit stack
with contextlib.ExitStack() as stack:
    stack.callback(print, "closed")
    raise OSError("inside the stack")
# %% exit that swallows
class Swallow:
    def __enter__(self): return self
    def __exit__(self, *args): return True
with Swallow():
    1 / 0
print("swallowed")
# %% error in exit
class BadExit(Swallow):
    def __exit__(self, *args): raise ValueError("exit failed")
with BadExit():
    pass
# %% error in except
try:
    1 / 0
except 5:
    pass
# %% finally with return
def fin():
    try:
        return 1 / 0
    finally:
        return "finally"
fin()
