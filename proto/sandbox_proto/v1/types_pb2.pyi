import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Language(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LANGUAGE_UNSPECIFIED: _ClassVar[Language]
    LANGUAGE_PYTHON: _ClassVar[Language]
    LANGUAGE_JAVASCRIPT: _ClassVar[Language]
    LANGUAGE_TYPESCRIPT: _ClassVar[Language]
    LANGUAGE_BASH: _ClassVar[Language]

class ExitStatus(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EXIT_STATUS_UNSPECIFIED: _ClassVar[ExitStatus]
    EXIT_STATUS_OK: _ClassVar[ExitStatus]
    EXIT_STATUS_ERROR: _ClassVar[ExitStatus]
    EXIT_STATUS_INTERRUPTED: _ClassVar[ExitStatus]
    EXIT_STATUS_TIMED_OUT: _ClassVar[ExitStatus]
    EXIT_STATUS_OOM_KILLED: _ClassVar[ExitStatus]
    EXIT_STATUS_KILLED: _ClassVar[ExitStatus]
    EXIT_STATUS_LOST: _ClassVar[ExitStatus]

class FileType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FILE_TYPE_UNSPECIFIED: _ClassVar[FileType]
    FILE_TYPE_FILE: _ClassVar[FileType]
    FILE_TYPE_DIRECTORY: _ClassVar[FileType]
    FILE_TYPE_SYMLINK: _ClassVar[FileType]
    FILE_TYPE_OTHER: _ClassVar[FileType]
LANGUAGE_UNSPECIFIED: Language
LANGUAGE_PYTHON: Language
LANGUAGE_JAVASCRIPT: Language
LANGUAGE_TYPESCRIPT: Language
LANGUAGE_BASH: Language
EXIT_STATUS_UNSPECIFIED: ExitStatus
EXIT_STATUS_OK: ExitStatus
EXIT_STATUS_ERROR: ExitStatus
EXIT_STATUS_INTERRUPTED: ExitStatus
EXIT_STATUS_TIMED_OUT: ExitStatus
EXIT_STATUS_OOM_KILLED: ExitStatus
EXIT_STATUS_KILLED: ExitStatus
EXIT_STATUS_LOST: ExitStatus
FILE_TYPE_UNSPECIFIED: FileType
FILE_TYPE_FILE: FileType
FILE_TYPE_DIRECTORY: FileType
FILE_TYPE_SYMLINK: FileType
FILE_TYPE_OTHER: FileType

class Output(_message.Message):
    __slots__ = ("stream", "data", "offset")
    class Stream(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STREAM_UNSPECIFIED: _ClassVar[Output.Stream]
        STREAM_STDOUT: _ClassVar[Output.Stream]
        STREAM_STDERR: _ClassVar[Output.Stream]
    STREAM_UNSPECIFIED: Output.Stream
    STREAM_STDOUT: Output.Stream
    STREAM_STDERR: Output.Stream
    STREAM_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    stream: Output.Stream
    data: bytes
    offset: int
    def __init__(self, stream: _Optional[_Union[Output.Stream, str]] = ..., data: _Optional[bytes] = ..., offset: _Optional[int] = ...) -> None: ...

class Truncation(_message.Message):
    __slots__ = ("dropped_bytes",)
    DROPPED_BYTES_FIELD_NUMBER: _ClassVar[int]
    dropped_bytes: int
    def __init__(self, dropped_bytes: _Optional[int] = ...) -> None: ...

class FileInfo(_message.Message):
    __slots__ = ("path", "type", "size", "mode", "modified", "symlink_target", "owner", "group", "metadata")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PATH_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    MODIFIED_FIELD_NUMBER: _ClassVar[int]
    SYMLINK_TARGET_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    path: str
    type: FileType
    size: int
    mode: int
    modified: _timestamp_pb2.Timestamp
    symlink_target: str
    owner: str
    group: str
    metadata: _containers.ScalarMap[str, str]
    def __init__(self, path: _Optional[str] = ..., type: _Optional[_Union[FileType, str]] = ..., size: _Optional[int] = ..., mode: _Optional[int] = ..., modified: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., symlink_target: _Optional[str] = ..., owner: _Optional[str] = ..., group: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ...) -> None: ...
