"""Every argument of the public API: a value of the wrong type is refused by its name, before anything is sent."""

import inspect
import pathlib

import pytest

from sandbox_client import AsyncCluster, AsyncSandbox, AsyncStoredWorkspaces, Context, InvalidArgument, ProcessInfo
from sandbox_client.contexts import AsyncContexts
from sandbox_client.files import AsyncFiles
from sandbox_client.processes import AsyncProcess, AsyncProcesses
from sandbox_client.transport.arguments import checks_arguments, id_of
from sandbox_client.workspace import AsyncWorkspace
from sandbox_proto.v1 import process_pb2

CLASSES = [
    AsyncSandbox,
    AsyncFiles,
    AsyncContexts,
    AsyncProcesses,
    AsyncProcess,
    AsyncWorkspace,
    AsyncCluster,
    AsyncStoredWorkspaces,
]


def parameters():
    for class_ in CLASSES:
        for method, function in inspect.getmembers(class_, callable):
            if not method.startswith("_"):
                names = list(inspect.signature(function).parameters.values())
                for parameter in names:
                    if parameter.name not in ("self", "cls") and parameter.kind is not parameter.VAR_KEYWORD:
                        yield pytest.param(
                            class_, method, parameter.name, id=f"{class_.__name__}.{method}.{parameter.name}"
                        )


@pytest.fixture
def owner(sandbox):
    """Return the object that has a class's methods."""
    process = AsyncProcess(sandbox._connection, process_pb2.Process(process_id="p"))
    others = (AsyncCluster(None), AsyncStoredWorkspaces(None, "team", None))
    owners = (sandbox, sandbox.files, sandbox.contexts, sandbox.processes, process, sandbox.workspace, *others)
    return dict(zip(CLASSES, owners, strict=True)).get


async def first_of(call, arguments):
    result = call(**arguments)
    return await (result if inspect.isawaitable(result) else anext(result))


def stand_in(parameter):
    """Return a valid value for a parameter that must be given."""
    annotation = str(parameter.annotation)
    if annotation == "int":
        return 1
    if "Duration" in annotation:
        return 5
    if "Iterable[bytes]" in annotation:
        return [b"x"]
    return "x" if "str" in annotation else pathlib.Path("x")


@pytest.mark.parametrize(("class_", "method", "name"), list(parameters()))
async def test_a_value_of_the_wrong_type_is_refused_by_its_name_before_anything_is_sent(
    agent, owner, class_, method, name
):
    call = getattr(owner(class_), method)
    needed = {
        each.name: stand_in(each)
        for each in inspect.signature(call).parameters.values()
        if each.default is each.empty and each.name != name
    }
    with pytest.raises(InvalidArgument) as caught:
        await first_of(call, {**needed, name: object()})
    assert caught.value.field == name
    assert caught.value.message.startswith(f"{name} is <object object at ")
    assert ": give " in caught.value.message
    assert agent.calls.total() == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s.run_code(5), "code is 5, of type int: give text"),
        (lambda s: s.run_code(b"1"), "code is b'1', of type bytes: give text"),
        (lambda s: s.run_code("1", timeout="5"), "timeout is '5', of type str: give a number of at least 0 or None"),
        (lambda s: s.run_code("1", timeout=True), "timeout is True, of type bool: give a number of at least 0 or None"),
        (lambda s: s.run_code("1", timeout=-1), "timeout is -1, of type int: give a number of at least 0 or None"),
        (lambda s: s.run("ls", timeout=float("nan")), "timeout is nan, of type float: give a number of at least 0"),
        (lambda s: s.create(timeout=-0.5), "timeout is -0.5, of type float: give a number of at least 0"),
        (lambda s: s.run_code("1", on_stdout="x"), "on_stdout is 'x', of type str: give a function or None"),
        (lambda s: s.run_code("1", context=5), "context is 5, of type int: give text or a Context or None"),
        (lambda s: s.files.write("a", 5), "content is 5, of type int: give bytes or text"),
        (lambda s: s.files.write(5, "a"), "path is 5, of type int: give text or a path"),
        (
            lambda s: s.files.write("a", "b", mode=-1),
            "mode is -1, of type int: give a whole number from 0 to 2,147,483,647",
        ),
        (lambda s: s.files.find("*", max_results=1 << 40), "max_results is 1099511627776"),
        (lambda s: s.files.find("*", exclude="*.py"), "exclude is '*.py', of type str: give a list of texts"),
        (lambda s: s.files.read("a", length=1.5), "length is 1.5, of type float"),
        (lambda s: s.run(["ls", 5]), "command is ['ls', 5], of type list: give text or a list of texts"),
        (lambda s: s.run("ls", env={"A": 1}), "env is {'A': 1}, of type dict: give a mapping of texts or None"),
        (lambda s: s.run("ls", cwd="\ud800"), "cwd has characters that no UTF-8 text can have, such as '\\ud800': "),
        (
            lambda s: s.run_code("print('\udcff')"),
            "code has characters that no UTF-8 text can have, such as '\\udcff': ",
        ),
        (lambda s: s.run(["ls", "\udcff"]), "command has characters that no UTF-8"),
        (lambda s: s.run("ls", env={"A": "\udcff"}), "env has characters that no UTF-8"),
        (lambda s: s.processes.start("ls", terminal=24), "terminal is 24, of type int: give a pair of whole numbers"),
    ],
)
async def test_the_message_names_the_value_its_type_and_what_to_give(agent, sandbox, call, message):
    with pytest.raises(InvalidArgument) as caught:
        await call(sandbox)
    assert caught.value.message.startswith(message)
    assert agent.calls.total() == 0


async def test_values_of_other_libraries_that_mean_the_same_are_taken(agent, sandbox):
    numpy = pytest.importorskip("numpy")
    await sandbox.files.write(pathlib.PurePosixPath("a"), memoryview(b"abc"), mode=numpy.int64(0o600))
    assert await sandbox.files.read(pathlib.Path("a")) == b"abc"
    await sandbox.run_code(numpy.str_("1"), timeout=numpy.float32(2))
    await sandbox.run(("ls", "-l"), env={}, timeout=3)


async def test_a_context_or_process_object_is_taken_where_its_id_is(agent, sandbox):
    context = Context("ctx-1", "python")
    assert (id_of(context), id_of("ctx-1"), id_of(None)) == ("ctx-1", "ctx-1", None)
    with pytest.raises(InvalidArgument):
        await sandbox.processes.get(context)
    assert id_of(ProcessInfo("p-1")) == "p-1"


def test_a_checked_method_keeps_its_kind_and_its_description():
    assert inspect.iscoroutinefunction(AsyncSandbox.run_code)
    assert inspect.iscoroutinefunction(AsyncFiles.read)
    assert AsyncFiles.read.__doc__.startswith("Return a file's bytes")

    @checks_arguments
    class Example:
        def call(self, size: "int", *rest: "Any", other: "Unknown | None" = None) -> "str":  # noqa: F821
            return f"{size} {rest} {other}"

    assert Example().call(1, "a", "b", other=object) == f"1 ('a', 'b') {object}"
    with pytest.raises(TypeError):
        Example().call()
