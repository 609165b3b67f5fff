"""The keyword options that several SDK calls share. Each option has its type and description here, and only here.

`with_options` copies the descriptions into the docstrings of the calls, and the names and defaults into their
signatures, so that `help` and notebooks show them.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import PurePosixPath

CallT = TypeVar("CallT", bound="Callable[..., Any]")
OptionsT = TypeVar("OptionsT", bound="Mapping[str, Any]")
_LINE: Final = re.compile(r"^( +)\*\*options: .*$", re.MULTILINE)


EXECUTION_TIMEOUT: Final = 300.0
"""Seconds that a cell or command may take in a local session, and in a template that does not say otherwise."""


class LocalOptions(TypedDict, total=False):
    """Options of a local session.

    Attributes:
        name: The workspace's name in the store. Sessions with the same store and name share the saved files.
        env: Environment variables of cells and commands.
        egress: `none` denies user code the network.
        execution_timeout: Seconds that a cell or command may take, and the largest `timeout` of a call. None means 300.
            It may be as long as you like. Background processes have no time limit.
        memory_limit: Memory that all processes of the session may use together: bytes, or a quantity such as `"2Gi"`
            or `"500M"`. Three quarters of the machine's memory if None. If they use more, the largest cell or command
            is killed.
        file_size_limit: Largest size of one file, as `memory_limit`; 5 GiB if None. The size of all files together is
            limited only by the disk.
        sync: `on_change` saves every change to the store automatically, within some seconds. With `manual` only
            `workspace.push` saves.
        keep_variables: `close` also saves all files, and the Python variables that can be pickled (64 MiB at most). The
            next session with the same store and name that keeps variables restores them; its `notice` says which.
        on_progress: Called with a description of each step of the start.
    """

    name: str
    env: Mapping[str, str] | None
    egress: Literal["public", "none"]
    execution_timeout: float | None
    memory_limit: int | str | None
    file_size_limit: int | str | None
    sync: Literal["manual", "on_change"]
    keep_variables: bool
    on_progress: Callable[[str], object] | None


class ConnectOptions(TypedDict, total=False):
    """Options for reaching a session in a cluster.

    Attributes:
        namespace: The session's namespace; that of the kubeconfig, or of this pod, if None.
        kubeconfig: Path of a kubeconfig; the usual one if None.
        kube_context: Context of the kubeconfig; the current one if None.
        in_cluster: Connect to the pod's own address instead of through a port-forward; only from inside a pod if None.
            A session under gVisor does not support port-forwards.
        timeout: Seconds to wait until the session is Ready.
        on_phase: Called with each phase of the session while waiting.
        gateway: Address of a gateway, such as `https://sandboxes.example`, instead of a cluster. Default: the variable
            SANDBOX_GATEWAY, if no option selects a cluster.
        api_key: The gateway's API key, or a Kubernetes token. Default: the variable SANDBOX_API_KEY.
    """

    namespace: str | None
    kubeconfig: str | None
    kube_context: str | None
    in_cluster: bool | None
    timeout: float
    on_phase: Callable[[str], object] | None
    gateway: str | None
    api_key: str | None


class RunOptions(TypedDict, total=False):
    """Options of a command, in the foreground or in the background.

    Attributes:
        cwd: Working directory: relative to the workspace root, or absolute in the workspace, the home folder or /tmp.
        env: Environment variables, in addition to the session's.
        timeout: Seconds after which the whole process tree is killed. If None, the session's limit applies (300 s by
            default), and none in the background.
        stdin: Standard input of any size. In the background at most 1 MiB: send more with `send_input`.
        request_id: 1 to 128 characters. A repeat with the same id and command attaches to the first run instead of
            starting another one.
    """

    cwd: str | PurePosixPath
    env: Mapping[str, str] | None
    timeout: float | None
    stdin: bytes | str
    request_id: str | None


LOCAL_DEFAULTS: Final = LocalOptions(
    name="default",
    env=None,
    egress="public",
    execution_timeout=EXECUTION_TIMEOUT,
    memory_limit=None,
    file_size_limit=None,
    sync="manual",
    keep_variables=False,
    on_progress=None,
)
CONNECT_DEFAULTS: Final = ConnectOptions(
    namespace=None,
    kubeconfig=None,
    kube_context=None,
    in_cluster=None,
    timeout=120.0,
    on_phase=None,
    gateway=None,
    api_key=None,
)
RUN_DEFAULTS: Final = RunOptions(cwd="", env=None, timeout=None, stdin=b"", request_id=None)


def complete(options: OptionsT, defaults: OptionsT) -> OptionsT:
    """Return the options with the default of each one that is missing.

    Raises:
        TypeError: There is no option of that name.
    """
    if not options.keys() <= defaults.keys():
        unknown = ", ".join(sorted(options.keys() - defaults.keys()))
        raise TypeError(f"unknown option {unknown}; the options are {', '.join(defaults)}")
    return cast("OptionsT", {**defaults, **options})


def ignore(_description: str) -> None:
    """Do nothing: the default of `on_progress` and `on_phase`."""


def with_options(options: type, defaults: Mapping[str, Any], *parents: type) -> Callable[[CallT], CallT]:
    """Make the signature and the docstring of a call that takes `**options` show each option.

    Args:
        options: The TypedDict of the options. Its descriptions replace the line `**options: ...` of the docstring.
        defaults: The default of each option.
        *parents: The TypedDicts that `options` inherits from, whose descriptions follow.
    """

    def decorate(call: CallT) -> CallT:
        decorated: Any = call
        signature = inspect.signature(call)
        own = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
        decorated.__signature__ = signature.replace(parameters=[*own, *_parameters(options, defaults)])
        # There are no docstrings under `python -OO`.
        if call.__doc__ and options.__doc__:
            docs = [each.__doc__ or "" for each in (options, *parents)]
            decorated.__doc__ = _LINE.sub(lambda line: "\n".join(_describe(doc, line[1]) for doc in docs), call.__doc__)
        return call

    return decorate


def _parameters(options: type, defaults: Mapping[str, Any]) -> Iterator[inspect.Parameter]:
    for name, default in defaults.items():
        annotation = options.__annotations__[name]
        # A string in the source, as the annotations of the call itself.
        annotation = getattr(annotation, "__forward_arg__", annotation)
        yield inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _describe(docstring: str, indent: str) -> str:
    _, _, attributes = inspect.cleandoc(docstring).partition("Attributes:\n")
    return textwrap.indent(textwrap.dedent(attributes), indent)
