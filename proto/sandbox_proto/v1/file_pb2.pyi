import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from sandbox_proto.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FileRoot(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FILE_ROOT_UNSPECIFIED: _ClassVar[FileRoot]
    FILE_ROOT_WORKSPACE: _ClassVar[FileRoot]
    FILE_ROOT_TEMPORARY: _ClassVar[FileRoot]
    FILE_ROOT_HOME: _ClassVar[FileRoot]
FILE_ROOT_UNSPECIFIED: FileRoot
FILE_ROOT_WORKSPACE: FileRoot
FILE_ROOT_TEMPORARY: FileRoot
FILE_ROOT_HOME: FileRoot

class ReadRequest(_message.Message):
    __slots__ = ("path", "offset", "length", "root")
    PATH_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    path: str
    offset: int
    length: int
    root: FileRoot
    def __init__(self, path: _Optional[str] = ..., offset: _Optional[int] = ..., length: _Optional[int] = ..., root: _Optional[_Union[FileRoot, str]] = ...) -> None: ...

class ReadResponse(_message.Message):
    __slots__ = ("info", "data")
    INFO_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    info: _types_pb2.FileInfo
    data: bytes
    def __init__(self, info: _Optional[_Union[_types_pb2.FileInfo, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

class WriteRequest(_message.Message):
    __slots__ = ("open", "data")
    OPEN_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    open: WriteOpen
    data: bytes
    def __init__(self, open: _Optional[_Union[WriteOpen, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

class WriteOpen(_message.Message):
    __slots__ = ("path", "mode", "sha256", "root", "metadata")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PATH_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    path: str
    mode: int
    sha256: str
    root: FileRoot
    metadata: _containers.ScalarMap[str, str]
    def __init__(self, path: _Optional[str] = ..., mode: _Optional[int] = ..., sha256: _Optional[str] = ..., root: _Optional[_Union[FileRoot, str]] = ..., metadata: _Optional[_Mapping[str, str]] = ...) -> None: ...

class WriteResponse(_message.Message):
    __slots__ = ("info", "sha256")
    INFO_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    info: _types_pb2.FileInfo
    sha256: str
    def __init__(self, info: _Optional[_Union[_types_pb2.FileInfo, _Mapping]] = ..., sha256: _Optional[str] = ...) -> None: ...

class ListFilesRequest(_message.Message):
    __slots__ = ("path", "depth", "page_size", "page_token", "root")
    PATH_FIELD_NUMBER: _ClassVar[int]
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    path: str
    depth: int
    page_size: int
    page_token: str
    root: FileRoot
    def __init__(self, path: _Optional[str] = ..., depth: _Optional[int] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., root: _Optional[_Union[FileRoot, str]] = ...) -> None: ...

class ListFilesResponse(_message.Message):
    __slots__ = ("files", "next_page_token")
    FILES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    files: _containers.RepeatedCompositeFieldContainer[_types_pb2.FileInfo]
    next_page_token: str
    def __init__(self, files: _Optional[_Iterable[_Union[_types_pb2.FileInfo, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class StatRequest(_message.Message):
    __slots__ = ("path", "root")
    PATH_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    path: str
    root: FileRoot
    def __init__(self, path: _Optional[str] = ..., root: _Optional[_Union[FileRoot, str]] = ...) -> None: ...

class RemoveRequest(_message.Message):
    __slots__ = ("path", "recursive", "root")
    PATH_FIELD_NUMBER: _ClassVar[int]
    RECURSIVE_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    path: str
    recursive: bool
    root: FileRoot
    def __init__(self, path: _Optional[str] = ..., recursive: _Optional[bool] = ..., root: _Optional[_Union[FileRoot, str]] = ...) -> None: ...

class RemoveResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class MoveRequest(_message.Message):
    __slots__ = ("source", "destination", "overwrite", "source_root", "destination_root")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    OVERWRITE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_ROOT_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_ROOT_FIELD_NUMBER: _ClassVar[int]
    source: str
    destination: str
    overwrite: bool
    source_root: FileRoot
    destination_root: FileRoot
    def __init__(self, source: _Optional[str] = ..., destination: _Optional[str] = ..., overwrite: _Optional[bool] = ..., source_root: _Optional[_Union[FileRoot, str]] = ..., destination_root: _Optional[_Union[FileRoot, str]] = ...) -> None: ...

class MakeDirectoryRequest(_message.Message):
    __slots__ = ("path", "root")
    PATH_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    path: str
    root: FileRoot
    def __init__(self, path: _Optional[str] = ..., root: _Optional[_Union[FileRoot, str]] = ...) -> None: ...

class SearchRequest(_message.Message):
    __slots__ = ("path", "name_pattern", "content_pattern", "max_results", "literal", "ignore_case", "exclude", "timeout", "root")
    PATH_FIELD_NUMBER: _ClassVar[int]
    NAME_PATTERN_FIELD_NUMBER: _ClassVar[int]
    CONTENT_PATTERN_FIELD_NUMBER: _ClassVar[int]
    MAX_RESULTS_FIELD_NUMBER: _ClassVar[int]
    LITERAL_FIELD_NUMBER: _ClassVar[int]
    IGNORE_CASE_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    path: str
    name_pattern: str
    content_pattern: str
    max_results: int
    literal: bool
    ignore_case: bool
    exclude: _containers.RepeatedScalarFieldContainer[str]
    timeout: _duration_pb2.Duration
    root: FileRoot
    def __init__(self, path: _Optional[str] = ..., name_pattern: _Optional[str] = ..., content_pattern: _Optional[str] = ..., max_results: _Optional[int] = ..., literal: _Optional[bool] = ..., ignore_case: _Optional[bool] = ..., exclude: _Optional[_Iterable[str]] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., root: _Optional[_Union[FileRoot, str]] = ...) -> None: ...

class SearchResponse(_message.Message):
    __slots__ = ("path", "line", "text", "info", "summary")
    PATH_FIELD_NUMBER: _ClassVar[int]
    LINE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    INFO_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    path: str
    line: int
    text: str
    info: _types_pb2.FileInfo
    summary: SearchSummary
    def __init__(self, path: _Optional[str] = ..., line: _Optional[int] = ..., text: _Optional[str] = ..., info: _Optional[_Union[_types_pb2.FileInfo, _Mapping]] = ..., summary: _Optional[_Union[SearchSummary, _Mapping]] = ...) -> None: ...

class SearchSummary(_message.Message):
    __slots__ = ("files", "skipped", "matches", "limit")
    class Limit(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        LIMIT_UNSPECIFIED: _ClassVar[SearchSummary.Limit]
        LIMIT_MAX_RESULTS: _ClassVar[SearchSummary.Limit]
        LIMIT_TIMEOUT: _ClassVar[SearchSummary.Limit]
    LIMIT_UNSPECIFIED: SearchSummary.Limit
    LIMIT_MAX_RESULTS: SearchSummary.Limit
    LIMIT_TIMEOUT: SearchSummary.Limit
    FILES_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    MATCHES_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    files: int
    skipped: int
    matches: int
    limit: SearchSummary.Limit
    def __init__(self, files: _Optional[int] = ..., skipped: _Optional[int] = ..., matches: _Optional[int] = ..., limit: _Optional[_Union[SearchSummary.Limit, str]] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("path", "recursive", "root")
    PATH_FIELD_NUMBER: _ClassVar[int]
    RECURSIVE_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    path: str
    recursive: bool
    root: FileRoot
    def __init__(self, path: _Optional[str] = ..., recursive: _Optional[bool] = ..., root: _Optional[_Union[FileRoot, str]] = ...) -> None: ...

class WatchResponse(_message.Message):
    __slots__ = ("change", "path", "at")
    class Change(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        CHANGE_UNSPECIFIED: _ClassVar[WatchResponse.Change]
        CHANGE_ADDED: _ClassVar[WatchResponse.Change]
        CHANGE_MODIFIED: _ClassVar[WatchResponse.Change]
        CHANGE_REMOVED: _ClassVar[WatchResponse.Change]
        CHANGE_WATCHING: _ClassVar[WatchResponse.Change]
        CHANGE_OVERFLOW: _ClassVar[WatchResponse.Change]
    CHANGE_UNSPECIFIED: WatchResponse.Change
    CHANGE_ADDED: WatchResponse.Change
    CHANGE_MODIFIED: WatchResponse.Change
    CHANGE_REMOVED: WatchResponse.Change
    CHANGE_WATCHING: WatchResponse.Change
    CHANGE_OVERFLOW: WatchResponse.Change
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    change: WatchResponse.Change
    path: str
    at: _timestamp_pb2.Timestamp
    def __init__(self, change: _Optional[_Union[WatchResponse.Change, str]] = ..., path: _Optional[str] = ..., at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
