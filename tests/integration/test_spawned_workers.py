"""Worker processes run functions that cells define, or fail at once with an error that says what to do. None hangs."""

import pytest

DEFINITIONS = """
import collections, dataclasses, enum, functools, math, os, sys
import concurrent.futures as futures, multiprocessing as mp
FACTOR = 3
TABLE = {"double": lambda x: helper(x) * 2}
def helper(x): return x * FACTOR
def work(x): return TABLE["double"](x) + math.floor(0.5)
@dataclasses.dataclass
class Point:
    x: int
    def moved(self, by): return Point(helper(self.x) + by)
class Base:
    def name(self): return "base"
class Sub(Base):
    def name(self): return super().name() + "/sub"
Pair = collections.namedtuple("Pair", "a b")
Colour = enum.Enum("Colour", "RED BLUE")
class Wrong(Exception): pass
def plus_one(function):
    @functools.wraps(function)
    def inner(x): return function(x) + 1
    return inner
@functools.lru_cache
@plus_one
def wrapped(x): return work(x)
def fail(x): raise Wrong(x)
def move(point): return point.moved(1)
def same(value): return value, type(value) is globals()[type(value).__name__]
def set_up(value):
    global STATE
    STATE = value
class Proxy:
    @property
    def __dict__(self): raise RuntimeError("outside of a request")
    def __getattr__(self, name): raise RuntimeError("outside of a request")
proxy = Proxy()
STATE = None
def state(_): return STATE
"""
METHODS = ["spawn", "forkserver"]


@pytest.fixture
def run(sandbox):
    """Runs cells in a context of their own, which no worker may hold up."""
    context = sandbox.contexts.create("python").id
    yield lambda code, **options: sandbox.run_code(code, context=context, **{"timeout": 30, **options})
    sandbox.contexts.delete(context)


@pytest.mark.parametrize("method", METHODS)
def test_a_pool_runs_what_cells_define(run, method):
    assert run(DEFINITIONS).error is None
    execution = run(
        f"""
with mp.get_context({method!r}).Pool(2, set_up, (5,)) as pool:
    print(pool.map(work, range(3)), pool.map(wrapped, [1]), pool.map(state, [0]))
    print(pool.map(move, [Point(1)]), [value.name() for value, _ in pool.map(same, [Sub()])])
    print(pool.map(same, [Pair(1, 2), Colour.RED, Point(2)]), pool.apply(functools.partial(helper, 2)))
    try: pool.map(fail, [1])
    except Wrong as error: print("Wrong", error)
"""
    )
    assert execution.error is None
    assert execution.stdout.splitlines() == [
        "[0, 6, 12] [7] [5]",
        "[Point(x=4)] ['base/sub']",
        "[(Pair(a=1, b=2), True), (<Colour.RED: 1>, True), (Point(x=2), True)] 6",
        "Wrong 1",
    ]


@pytest.mark.parametrize("method", METHODS)
def test_executors_and_processes_run_what_cells_define_and_start_workers_of_their_own(run, method):
    run(DEFINITIONS)
    run(
        f"""
context = mp.get_context({method!r})
def in_turn(x):
    with futures.ProcessPoolExecutor(1, mp_context=mp.get_context("spawn")) as inner:
        return inner.submit(work, x).result()
def say(queue):
    print("said in a worker", flush=True)
    queue.put(Point(7))
"""
    )
    execution = run(
        """
with futures.ProcessPoolExecutor(2, mp_context=context) as executor:
    print(list(executor.map(work, range(3))), executor.submit(in_turn, 2).result())
queue = context.Queue()
process = context.Process(target=say, args=(queue,))
process.start(); print(queue.get()); process.join()
"""
    )
    assert execution.error is None
    assert sorted(execution.stdout.splitlines()) == ["Point(x=7)", "[0, 6, 12] 12", "said in a worker"]


def test_a_worker_imports_modules_of_the_workspace_and_sees_the_sessions_packages(sandbox, run):
    sandbox.files.write("own_module.py", "def triple(x): return 3 * x")
    execution = run(
        "import multiprocessing as mp, own_module, sys\ndef f(x): return own_module.triple(x), sys.executable\n"
        "with mp.get_context('spawn').Pool(1) as pool:\n    found = pool.map(f, [1])\n"
        "print(found == [(3, sys.executable)])"
    )
    assert (execution.stdout, execution.error) == ("True\n", None)


def test_loky_and_joblib_run_what_cells_define(run):
    pytest.importorskip("joblib")
    run(DEFINITIONS)
    execution = run("import joblib\njoblib.Parallel(2)(joblib.delayed(move)(Point(x)) for x in range(2))")
    assert (execution.text, execution.error) == ("[Point(x=1), Point(x=4)]", None)


@pytest.mark.parametrize("method", [*METHODS, "fork"])
@pytest.mark.parametrize(
    ("definition", "call"),
    [
        ("def late(x): return x", "pool.apply(late, (1,))"),
        ("class late:\n    x = 1\nimport operator", "pool.map(operator.attrgetter('x'), [late()])"),
        ("class late(Exception): pass\nimport operator", "pool.map(operator.attrgetter('x'), [late(1)])"),
    ],
)
def test_what_was_defined_after_the_workers_had_started_is_named_at_once(run, method, definition, call):
    run(f"import multiprocessing as mp\npool = mp.get_context({method!r}).Pool(1)\npool.map(abs, [1])")
    execution = run(f"{definition}\n{call}", timeout=15)
    assert execution.error.name == "AttributeError"
    assert "a worker process does not have 'late'" in execution.error.value
    assert "define it before you start the pool" in execution.error.value
    assert 'multiprocessing.get_context("fork")' in execution.error.value
    assert run("pool.map(abs, [-1])", timeout=15).text == "[1]"
    run("pool.terminate()")


def test_what_cannot_be_sent_to_a_worker_is_named_with_the_reason(run):
    execution = run(
        "import multiprocessing as mp, threading\nLOCK = threading.Lock()\nFILE = open('/dev/null')\n"
        "def f(x):\n    with LOCK: return x\ndef g(x): return FILE.name\ndef h(x): return x\n"
        "with mp.get_context('spawn').Pool(1) as pool:\n"
        "    for work in (h, f, g):\n"
        "        try: print(pool.map(work, [1]))\n        except Exception as error: print(error)",
        timeout=20,
    )
    works, first, second = execution.stdout.splitlines()
    assert works == "[1]"
    assert "does not have 'LOCK'" in first
    assert "cannot pickle '_thread.lock' object" in first
    assert "does not have 'FILE'" in second
    assert "an open file" in second


def test_without_cloudpickle_a_worker_says_what_to_do(run):
    execution = run(
        "import multiprocessing as mp, sys\nsys.modules['cloudpickle'] = None\ndef f(x): return x\n"
        "with mp.get_context('spawn').Pool(1) as pool: pool.map(f, [1])",
        timeout=20,
    )
    assert execution.error.name == "AttributeError"
    assert "cloudpickle is not installed" in execution.error.value
    assert 'get_context("fork")' in execution.error.value


def test_a_variable_that_is_too_large_for_a_worker_is_named(run):
    execution = run(
        "import multiprocessing as mp\nDATA = bytes(300 << 20)\ndef f(x): return len(DATA)\n"
        "with mp.get_context('spawn').Pool(1) as pool: pool.map(f, [1])",
        timeout=60,
    )
    assert "does not have 'DATA'" in execution.error.value
    assert "pass it as an argument" in execution.error.value
