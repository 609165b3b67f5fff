import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from sandbox_proto.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TypeCheck(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TYPE_CHECK_UNSPECIFIED: _ClassVar[TypeCheck]
    TYPE_CHECK_REPORT: _ClassVar[TypeCheck]
    TYPE_CHECK_REQUIRE: _ClassVar[TypeCheck]
    TYPE_CHECK_ONLY: _ClassVar[TypeCheck]
TYPE_CHECK_UNSPECIFIED: TypeCheck
TYPE_CHECK_REPORT: TypeCheck
TYPE_CHECK_REQUIRE: TypeCheck
TYPE_CHECK_ONLY: TypeCheck

class ExecuteRequest(_message.Message):
    __slots__ = ("code", "language", "context_id", "timeout", "request_id", "type_check")
    CODE_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_ID_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_CHECK_FIELD_NUMBER: _ClassVar[int]
    code: str
    language: _types_pb2.Language
    context_id: str
    timeout: _duration_pb2.Duration
    request_id: str
    type_check: TypeCheck
    def __init__(self, code: _Optional[str] = ..., language: _Optional[_Union[_types_pb2.Language, str]] = ..., context_id: _Optional[str] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., request_id: _Optional[str] = ..., type_check: _Optional[_Union[TypeCheck, str]] = ...) -> None: ...

class ExecuteResponse(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[ExecuteEvent]
    def __init__(self, events: _Optional[_Iterable[_Union[ExecuteEvent, _Mapping]]] = ...) -> None: ...

class ExecuteEvent(_message.Message):
    __slots__ = ("started", "output", "result", "error", "completed", "file", "type_checked")
    STARTED_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    TYPE_CHECKED_FIELD_NUMBER: _ClassVar[int]
    started: ExecutionStarted
    output: _types_pb2.Output
    result: Result
    error: ExecutionError
    completed: ExecutionCompleted
    file: FileChanged
    type_checked: TypeChecked
    def __init__(self, started: _Optional[_Union[ExecutionStarted, _Mapping]] = ..., output: _Optional[_Union[_types_pb2.Output, _Mapping]] = ..., result: _Optional[_Union[Result, _Mapping]] = ..., error: _Optional[_Union[ExecutionError, _Mapping]] = ..., completed: _Optional[_Union[ExecutionCompleted, _Mapping]] = ..., file: _Optional[_Union[FileChanged, _Mapping]] = ..., type_checked: _Optional[_Union[TypeChecked, _Mapping]] = ...) -> None: ...

class ExecutionStarted(_message.Message):
    __slots__ = ("execution_id", "context_id")
    EXECUTION_ID_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_ID_FIELD_NUMBER: _ClassVar[int]
    execution_id: str
    context_id: str
    def __init__(self, execution_id: _Optional[str] = ..., context_id: _Optional[str] = ...) -> None: ...

class Result(_message.Message):
    __slots__ = ("data", "is_main", "display_id", "is_update")
    class DataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: bytes
        def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...
    DATA_FIELD_NUMBER: _ClassVar[int]
    IS_MAIN_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_ID_FIELD_NUMBER: _ClassVar[int]
    IS_UPDATE_FIELD_NUMBER: _ClassVar[int]
    data: _containers.ScalarMap[str, bytes]
    is_main: bool
    display_id: str
    is_update: bool
    def __init__(self, data: _Optional[_Mapping[str, bytes]] = ..., is_main: _Optional[bool] = ..., display_id: _Optional[str] = ..., is_update: _Optional[bool] = ...) -> None: ...

class ExecutionError(_message.Message):
    __slots__ = ("name", "value", "traceback", "limit")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    TRACEBACK_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: str
    traceback: _containers.RepeatedScalarFieldContainer[str]
    limit: str
    def __init__(self, name: _Optional[str] = ..., value: _Optional[str] = ..., traceback: _Optional[_Iterable[str]] = ..., limit: _Optional[str] = ...) -> None: ...

class ExecutionCompleted(_message.Message):
    __slots__ = ("status", "exit_code", "duration", "context_restarted", "truncation", "execution_count")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_RESTARTED_FIELD_NUMBER: _ClassVar[int]
    TRUNCATION_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_COUNT_FIELD_NUMBER: _ClassVar[int]
    status: _types_pb2.ExitStatus
    exit_code: int
    duration: _duration_pb2.Duration
    context_restarted: bool
    truncation: _types_pb2.Truncation
    execution_count: int
    def __init__(self, status: _Optional[_Union[_types_pb2.ExitStatus, str]] = ..., exit_code: _Optional[int] = ..., duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., context_restarted: _Optional[bool] = ..., truncation: _Optional[_Union[_types_pb2.Truncation, _Mapping]] = ..., execution_count: _Optional[int] = ...) -> None: ...

class TypeChecked(_message.Message):
    __slots__ = ("diagnostics", "omitted")
    DIAGNOSTICS_FIELD_NUMBER: _ClassVar[int]
    OMITTED_FIELD_NUMBER: _ClassVar[int]
    diagnostics: _containers.RepeatedCompositeFieldContainer[Diagnostic]
    omitted: int
    def __init__(self, diagnostics: _Optional[_Iterable[_Union[Diagnostic, _Mapping]]] = ..., omitted: _Optional[int] = ...) -> None: ...

class Diagnostic(_message.Message):
    __slots__ = ("line", "column", "end_line", "end_column", "code", "message")
    LINE_FIELD_NUMBER: _ClassVar[int]
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    END_LINE_FIELD_NUMBER: _ClassVar[int]
    END_COLUMN_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    line: int
    column: int
    end_line: int
    end_column: int
    code: int
    message: str
    def __init__(self, line: _Optional[int] = ..., column: _Optional[int] = ..., end_line: _Optional[int] = ..., end_column: _Optional[int] = ..., code: _Optional[int] = ..., message: _Optional[str] = ...) -> None: ...

class FileChanged(_message.Message):
    __slots__ = ("info",)
    INFO_FIELD_NUMBER: _ClassVar[int]
    info: _types_pb2.FileInfo
    def __init__(self, info: _Optional[_Union[_types_pb2.FileInfo, _Mapping]] = ...) -> None: ...

class InterruptRequest(_message.Message):
    __slots__ = ("context_id", "request_id")
    CONTEXT_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    context_id: str
    request_id: str
    def __init__(self, context_id: _Optional[str] = ..., request_id: _Optional[str] = ...) -> None: ...

class InterruptResponse(_message.Message):
    __slots__ = ("interrupted",)
    INTERRUPTED_FIELD_NUMBER: _ClassVar[int]
    interrupted: bool
    def __init__(self, interrupted: _Optional[bool] = ...) -> None: ...

class Context(_message.Message):
    __slots__ = ("id", "language", "cwd", "busy", "execution_count")
    ID_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    CWD_FIELD_NUMBER: _ClassVar[int]
    BUSY_FIELD_NUMBER: _ClassVar[int]
    EXECUTION_COUNT_FIELD_NUMBER: _ClassVar[int]
    id: str
    language: _types_pb2.Language
    cwd: str
    busy: bool
    execution_count: int
    def __init__(self, id: _Optional[str] = ..., language: _Optional[_Union[_types_pb2.Language, str]] = ..., cwd: _Optional[str] = ..., busy: _Optional[bool] = ..., execution_count: _Optional[int] = ...) -> None: ...

class CreateContextRequest(_message.Message):
    __slots__ = ("language", "cwd", "env")
    class EnvEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    CWD_FIELD_NUMBER: _ClassVar[int]
    ENV_FIELD_NUMBER: _ClassVar[int]
    language: _types_pb2.Language
    cwd: str
    env: _containers.ScalarMap[str, str]
    def __init__(self, language: _Optional[_Union[_types_pb2.Language, str]] = ..., cwd: _Optional[str] = ..., env: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ListContextsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListContextsResponse(_message.Message):
    __slots__ = ("contexts", "variables")
    CONTEXTS_FIELD_NUMBER: _ClassVar[int]
    VARIABLES_FIELD_NUMBER: _ClassVar[int]
    contexts: _containers.RepeatedCompositeFieldContainer[Context]
    variables: KeptVariables
    def __init__(self, contexts: _Optional[_Iterable[_Union[Context, _Mapping]]] = ..., variables: _Optional[_Union[KeptVariables, _Mapping]] = ...) -> None: ...

class KeptVariables(_message.Message):
    __slots__ = ("kept", "lost", "kept_omitted", "lost_omitted", "problem")
    KEPT_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    KEPT_OMITTED_FIELD_NUMBER: _ClassVar[int]
    LOST_OMITTED_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    kept: _containers.RepeatedCompositeFieldContainer[Variable]
    lost: _containers.RepeatedCompositeFieldContainer[LostVariable]
    kept_omitted: int
    lost_omitted: int
    problem: str
    def __init__(self, kept: _Optional[_Iterable[_Union[Variable, _Mapping]]] = ..., lost: _Optional[_Iterable[_Union[LostVariable, _Mapping]]] = ..., kept_omitted: _Optional[int] = ..., lost_omitted: _Optional[int] = ..., problem: _Optional[str] = ...) -> None: ...

class Variable(_message.Message):
    __slots__ = ("context_id", "name")
    CONTEXT_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    context_id: str
    name: str
    def __init__(self, context_id: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class LostVariable(_message.Message):
    __slots__ = ("context_id", "name", "reason")
    CONTEXT_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    context_id: str
    name: str
    reason: str
    def __init__(self, context_id: _Optional[str] = ..., name: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class RestartContextRequest(_message.Message):
    __slots__ = ("context_id",)
    CONTEXT_ID_FIELD_NUMBER: _ClassVar[int]
    context_id: str
    def __init__(self, context_id: _Optional[str] = ...) -> None: ...

class DeleteContextRequest(_message.Message):
    __slots__ = ("context_id",)
    CONTEXT_ID_FIELD_NUMBER: _ClassVar[int]
    context_id: str
    def __init__(self, context_id: _Optional[str] = ...) -> None: ...

class DeleteContextResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
