# %% print
print("hello")
# %% print options
print(1, 2, 3, sep="-", end="!\n")
# %% no line end
print("no end", end="")
# %% unicode
print("é ü 漢字 🎉 \u200d")
# %% control characters
print("a\tb\rc\x08d")
# %% carriage returns
for n in range(3):
    print(f"\r{n}%", end="")
print()
# %% colours
print("\x1b[31mred\x1b[0m")
# %% value after text
print("a")
1 + 1
# %% text, value, text
print("before")
display(1)
print("after")
2
# %% standard error
import sys

print("problem", file=sys.stderr)
# %% both
print("out")
print("err", file=sys.stderr)
print("out again")
# %% write
sys.stdout.write("written\n")
# %% write without a line end
sys.stdout.write("x");
# %% write lines
sys.stdout.writelines(["a\n", "b\n"])
# %% flush
print("flushed", flush=True)
# %% many lines
for n in range(200):
    print(n, n**2)
# %% one long line
print("x" * 5000)
# %% large text
print("line\n" * 5000)
# %% pretty print
import pprint

pprint.pprint({"name": "value" * 5, "list": list(range(30)), "nested": {"a": [1, 2, {"b": "c" * 40}]}})
# %% print a list
print([1, "a", None, {"b": 2}], (1,), {1, 2})
# %% print a class
class A:
    pass

print(A, A.__name__, A.__qualname__, A.__module__)
# %% print a function
def f():
    pass

print(f.__name__, f.__module__, f.__qualname__)
# %% print nothing
print()
# %% print several empty lines
print("\n\n")
# %% redirected
import contextlib, io

buffer = io.StringIO()
with contextlib.redirect_stdout(buffer):
    print("hidden")
buffer.getvalue()
# %% redirected error
with contextlib.redirect_stderr(io.StringIO()) as e:
    print("hidden", file=sys.stderr)
e.getvalue()
# %% replaced
old = sys.stdout
sys.stdout = io.StringIO()
print("captured")
text = sys.stdout.getvalue()
sys.stdout = old
text
# %% a tee
class Tee:
    def __init__(self, *files):
        self.files = files

    def write(self, s):
        for file in self.files:
            file.write(s)

    def flush(self):
        for file in self.files:
            file.flush()

log = io.StringIO()
old, sys.stdout = sys.stdout, Tee(sys.stdout, log)
print("both places")
sys.stdout = old
log.getvalue()
# %% from a function
def greet(name):
    print(f"Hello, {name}!")
    return len(name)

greet("Ada")
# %% from a comprehension
[print(n) for n in range(3)]
# %% from a generator
def numbers():
    for n in range(3):
        print("yield", n)
        yield n

list(numbers())
# %% from a class body
class Body:
    print("in the body")
# %% from a property
class P:
    @property
    def value(self):
        print("asked")
        return 5

P().value
# %% from a finaliser
class D:
    def __del__(self):
        print("deleted")

d = D()
del d
# %% from a repr
class R:
    def __repr__(self):
        print("repr called")
        return "R()"

R()
# %% from a context manager
@contextlib.contextmanager
def tag(name):
    print(f"<{name}>")
    yield
    print(f"</{name}>")

with tag("b"):
    print("bold")
# %% before an error
print("before")
1 / 0
# %% in finally
try:
    print("try")
finally:
    print("finally")
# %% in except
try:
    int("x")
except ValueError as error:
    print("caught:", error)
else:
    print("no")
# %% traceback printed
import traceback

try:
    {}["k"]
except KeyError:
    traceback.print_exc()
# %% traceback as text
try:
    int("y")
except ValueError:
    print(traceback.format_exc().splitlines()[-1])
# %% exec
exec("print('from exec')")
# %% eval
eval("1 + 2")
# %% print in a child process
import subprocess
from time import sleep

subprocess.run(["echo", "child"], capture_output=True, text=True).stdout
# %% child writes to our output
subprocess.run(["sh", "-c", "echo to stdout"])
sleep(1.5)  # a notebook shows it late
# %% child writes to our error
subprocess.run(["sh", "-c", "echo to stderr >&2"])
sleep(1.5)  # a notebook shows it late
# %% os system
import os
os.system("echo system")
sleep(1.5)  # a notebook shows it late
# %% os write
os.write(1, b"descriptor 1\n")
sleep(1.5)  # a notebook shows it late
# %% popen
os.popen("echo popen").read()
# %% check output
subprocess.check_output("echo a; echo b", shell=True)
# %% failing child
subprocess.run("exit 3", shell=True)
# %% failing child checked
subprocess.run(["false"], check=True)
# %% missing program
subprocess.run(["no-such-program"])
# %% timeout of a child
subprocess.run(["sleep", "5"], timeout=0.1)
# %% input of a child
subprocess.run(["cat"], input="to cat", text=True, capture_output=True).stdout
# %% textwrap
import textwrap

print(textwrap.fill("The quick brown fox jumps over the lazy dog. " * 4, 40))
# %% table by hand
for row in [("a", 1), ("bb", 22)]:
    print("{:<5}|{:>5}".format(*row))
# %% percent format
print("%5.2f|%-5s|%05d|%x" % (3.14159, "ab", 42, 255))
# %% template
from string import Template

Template("$who likes $what").substitute(who="tim", what="kung pao")
# %% repr versus str
print(repr("a\n"), str("a\n"))
# %% logging
import logging

logging.warning("a warning")
logging.info("not shown")
# %% logger
logger = logging.getLogger("mine")
logger.setLevel(logging.DEBUG)
handler = logging.StreamHandler(sys.stdout)
handler.setFormatter(logging.Formatter("%(levelname)s:%(name)s:%(message)s"))
logger.addHandler(handler)
logger.propagate = False
logger.debug("details")
logger.error("failed %s", 3)
# %% logger with an exception
try:
    1 / 0
except ZeroDivisionError:
    logger.exception("division")
# %% warning
import warnings

warnings.warn("careful")
# %% same warning again
warnings.warn("careful")
# %% deprecation
warnings.warn("old", DeprecationWarning)
# %% warning from a function
def old():
    warnings.warn("use new", FutureWarning, stacklevel=2)

old()
# %% caught warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    warnings.warn("seen")
[str(w.message) for w in caught]
# %% warning as an error
with warnings.catch_warnings():
    warnings.simplefilter("error")
    warnings.warn("now an error")
# %% syntax warning
"a" is "a"
# %% invalid escape
"\d"
# %% runtime warning
import numpy as np

np.array([1.0]) / 0
# %% resource warning
open("/dev/null"); None
# %% stdout properties
sys.stdout.encoding.lower(), sys.stdout.isatty(), sys.stdout.writable()
# %% write bytes
sys.stdout.buffer
# %% print to a closed file
f = open("x.txt", "w")
f.close()
print("x", file=f)
# %% write to a file
with open("a.txt", "w") as file:
    print("line", file=file)
open("a.txt").read()
# %% print with a bad sep
print("a", sep=1)
# %% not a text
sys.stdout.write(5)
# %% clear
from IPython.display import clear_output

print("kept")
# %% progress
import time

for n in range(3):
    print(".", end="", flush=True)
    time.sleep(0.01)
print(" done")
# %% input is not available
try:
    input("name? ")
except Exception as e:
    print(isinstance(e, Exception))
# %% locale
import locale

locale.getpreferredencoding()
# %% help
help(len)
# %% help of a function of a cell
def documented(a, b=1):
    """Add two numbers."""
    return a + b

help(documented)
# %% license prints
type(license), type(copyright)
# %% this
import this
