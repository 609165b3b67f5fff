"""Variables over a suspend, in local sessions that share a store: what comes back, what is named, and where it runs."""

import pytest

from sandbox_client import Sandbox

DEFINE = """
import collections, functools, os, math as maths, pandas as pd, socket, threading
number = 41
text = "grüße"
nested = {"a": [1, 2, {"b": (3, None)}]}
frame = pd.DataFrame({"x": [1, 2], "y": ["a", "b"]})
factor = 2
def scale(value): return value * factor
twice = lambda value: scale(value)
@functools.lru_cache(maxsize=5)
def cached(value): return scale(value)
def make_counter():
    count = 0
    def step():
        nonlocal count
        count += 1
        return count
    return step
counter = make_counter(); counter()
class Point:
    unit = "m"
    def __init__(self, x): self.x = x
    def scaled(self): return Point(self.x * factor)
point = Point(3)
points = collections.deque([Point(1), point])

lock = threading.Lock()
opened = open("file.txt", "w+")
listening = socket.socket()
generator = (n for n in range(3))
large = bytearray(65 << 20)
class Stuck:
    def __reduce__(self):
        while True:
            try:
                while True: pass
            except Exception: pass
stuck = Stuck()
class Hostile:
    def __reduce__(self):
        return (eval, (f"({os.getpid()}, __import__('os').getpid())",))
hostile = Hostile()
class Fails:
    def __init__(self): self.kept = 1
    def __setstate__(self, state): raise RuntimeError("not here")
fails = Fails()
after = "behind them all"
print(os.getpid())
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def woken(store):
    """A session that goes on where one that was closed left off, the pid of its interpreter, and ids of contexts."""
    with Sandbox.local(store=store, name="kept", keep_variables=True) as first:
        assert first.notice == ""
        defined = first.run_code(DEFINE)
        assert defined.ok, defined.error
        folder = first.run("mkdir below").ok
        assert folder
        context = first.contexts.create(cwd="below", env={"ADDED": "1"})
        assert first.run_code("import os; own = os.path.basename(os.getcwd()); number = 7", context=context.id).ok
        other = first.contexts.create("javascript")
        assert first.run_code("var script = 1", "javascript").ok
    with Sandbox.local(store=store, name="kept", keep_variables=True) as sandbox:
        yield sandbox, defined.stdout.strip(), context.id, other.id


def value(sandbox, expression, **options):
    execution = sandbox.run_code(f"print({expression})", **options)
    assert execution.ok, execution.error
    return execution.stdout.strip()


def test_values_of_every_kind_are_there_after_a_wake(woken):
    sandbox, *_ = woken
    assert value(sandbox, "number + 1, text, nested['a'][2]['b'], after") == "42 grüße (3, None) behind them all"
    assert value(sandbox, "frame.x.sum(), list(frame.y), pd.__name__, maths.floor(2.5)") == "3 ['a', 'b'] pandas 2"


def test_functions_and_classes_are_the_contexts_own_again(woken):
    sandbox, *_ = woken
    assert value(sandbox, "scale(4), twice(4), counter()") == "8 8 2"
    assert value(sandbox, "cached(4), cached(4), cached.cache_info().hits, cached.cache_info().maxsize") == "8 8 1 5"
    assert value(sandbox, "isinstance(point, Point), point.unit, point.scaled().x, len(points)") == "True m 6 2"
    assert value(sandbox, "type(points[0]) is Point, scale.__globals__ is globals()") == "True True"
    # Not a copy of the variables of then.
    assert value(sandbox, "(globals().update(factor=10), scale(4), point.scaled().x)[1:]") == "(40, 30)"
    assert value(sandbox, "(globals().update(factor=2), __builtins__.__name__)[1]") == "builtins"


def test_tracebacks_show_the_lines_of_cells_from_before(woken):
    sandbox, *_ = woken
    error = sandbox.run_code("scale(None)").error
    assert error.name == "TypeError"
    assert "def scale(value): return value * factor" in "".join(error.traceback)


def test_what_cannot_be_kept_is_named_with_its_reason(woken):
    sandbox, *_ = woken
    told = sandbox.contexts.kept_variables()
    lost = {one.name: one.reason for one in told.lost if one.context == "python"}
    assert set(lost) == {"lock", "opened", "listening", "generator", "large", "stuck", "fails"}
    assert "lock" in lost["lock"]
    assert "an open file" in lost["opened"]
    assert "socket" in lost["listening"]
    assert "generator" in lost["generator"]
    assert "larger than what was left" in lost["large"]
    assert "took too long" in lost["stuck"]
    assert lost["fails"] == "RuntimeError: not here"
    kept = {name for context, name in told.kept if context == "python"}
    assert {"number", "frame", "scale", "twice", "counter", "Point", "point", "Stuck", "Fails"} <= kept
    assert not kept & set(lost)
    assert value(sandbox, "[name for name in ('lock', 'stuck', 'fails') if name in globals()]") == "[]"
    assert "variables were kept (" in sandbox.notice
    assert "lost: lock (" in sandbox.notice


def test_what_pickles_bring_along_runs_in_the_interpreter_alone(woken):
    sandbox, before, *_ = woken
    assert value(sandbox, "hostile") == f"({before}, {value(sandbox, 'os.getpid()')})"


def test_contexts_are_there_again_with_id_folder_environment_and_count(woken):
    sandbox, _, made, other = woken
    contexts = {context.id: context for context in sandbox.contexts.list()}
    assert (contexts[made].cwd, contexts[made].execution_count, contexts[other].language) == ("below", 1, "javascript")
    assert contexts["python"].execution_count >= 1
    assert (
        value(sandbox, "number, own == os.path.basename(os.getcwd()), os.environ['ADDED']", context=made) == "7 True 1"
    )
    lost = [one for one in sandbox.contexts.kept_variables().lost if one.context == "javascript"]
    assert [(one.name, one.reason) for one in lost] == [("", "only variables of Python are kept")]


def test_a_damaged_or_missing_object_costs_the_variables_and_nothing_else(tmp_path):
    with Sandbox.local(store=tmp_path, name="own", keep_variables=True) as sandbox:
        sandbox.run_code("kept = 1; open('file', 'w').write('kept')")
    [stored] = (tmp_path / "local/own/.workspace/variables").iterdir()
    content = bytearray(stored.read_bytes())
    content[-40] ^= 1
    stored.write_bytes(content)
    with Sandbox.local(store=tmp_path, name="own", keep_variables=True) as sandbox:
        assert "its variables were lost: the saved variables are damaged" in sandbox.notice
        assert sandbox.run_code("kept").error.name == "NameError"
        assert sandbox.files.read("file") == b"kept"
        assert not stored.exists()
