import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Progress(_message.Message):
    __slots__ = ("files_done", "files_total", "bytes_done", "bytes_total")
    FILES_DONE_FIELD_NUMBER: _ClassVar[int]
    FILES_TOTAL_FIELD_NUMBER: _ClassVar[int]
    BYTES_DONE_FIELD_NUMBER: _ClassVar[int]
    BYTES_TOTAL_FIELD_NUMBER: _ClassVar[int]
    files_done: int
    files_total: int
    bytes_done: int
    bytes_total: int
    def __init__(self, files_done: _Optional[int] = ..., files_total: _Optional[int] = ..., bytes_done: _Optional[int] = ..., bytes_total: _Optional[int] = ...) -> None: ...

class FileFailure(_message.Message):
    __slots__ = ("path", "reason")
    PATH_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    path: str
    reason: str
    def __init__(self, path: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class PushRequest(_message.Message):
    __slots__ = ("paths",)
    PATHS_FIELD_NUMBER: _ClassVar[int]
    paths: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, paths: _Optional[_Iterable[str]] = ...) -> None: ...

class PushResponse(_message.Message):
    __slots__ = ("progress", "done")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    progress: Progress
    done: PushDone
    def __init__(self, progress: _Optional[_Union[Progress, _Mapping]] = ..., done: _Optional[_Union[PushDone, _Mapping]] = ...) -> None: ...

class PushDone(_message.Message):
    __slots__ = ("generation", "files_saved", "files_moved", "bytes_moved", "failed")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    FILES_SAVED_FIELD_NUMBER: _ClassVar[int]
    FILES_MOVED_FIELD_NUMBER: _ClassVar[int]
    BYTES_MOVED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    generation: int
    files_saved: int
    files_moved: int
    bytes_moved: int
    failed: _containers.RepeatedCompositeFieldContainer[FileFailure]
    def __init__(self, generation: _Optional[int] = ..., files_saved: _Optional[int] = ..., files_moved: _Optional[int] = ..., bytes_moved: _Optional[int] = ..., failed: _Optional[_Iterable[_Union[FileFailure, _Mapping]]] = ...) -> None: ...

class RestoreRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RestoreResponse(_message.Message):
    __slots__ = ("progress", "done")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    progress: Progress
    done: RestoreDone
    def __init__(self, progress: _Optional[_Union[Progress, _Mapping]] = ..., done: _Optional[_Union[RestoreDone, _Mapping]] = ...) -> None: ...

class RestoreDone(_message.Message):
    __slots__ = ("generation", "files_restored", "bytes_restored", "failed")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    FILES_RESTORED_FIELD_NUMBER: _ClassVar[int]
    BYTES_RESTORED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    generation: int
    files_restored: int
    bytes_restored: int
    failed: _containers.RepeatedCompositeFieldContainer[FileFailure]
    def __init__(self, generation: _Optional[int] = ..., files_restored: _Optional[int] = ..., bytes_restored: _Optional[int] = ..., failed: _Optional[_Iterable[_Union[FileFailure, _Mapping]]] = ...) -> None: ...

class WorkspaceStatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WorkspaceStatus(_message.Message):
    __slots__ = ("generation", "files", "bytes", "synced_at", "dirty", "last_error", "conflicts", "saves_on_change", "lag", "unsaved", "unsaved_count")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    SYNCED_AT_FIELD_NUMBER: _ClassVar[int]
    DIRTY_FIELD_NUMBER: _ClassVar[int]
    LAST_ERROR_FIELD_NUMBER: _ClassVar[int]
    CONFLICTS_FIELD_NUMBER: _ClassVar[int]
    SAVES_ON_CHANGE_FIELD_NUMBER: _ClassVar[int]
    LAG_FIELD_NUMBER: _ClassVar[int]
    UNSAVED_FIELD_NUMBER: _ClassVar[int]
    UNSAVED_COUNT_FIELD_NUMBER: _ClassVar[int]
    generation: int
    files: int
    bytes: int
    synced_at: _timestamp_pb2.Timestamp
    dirty: bool
    last_error: str
    conflicts: _containers.RepeatedScalarFieldContainer[str]
    saves_on_change: bool
    lag: _duration_pb2.Duration
    unsaved: _containers.RepeatedCompositeFieldContainer[FileFailure]
    unsaved_count: int
    def __init__(self, generation: _Optional[int] = ..., files: _Optional[int] = ..., bytes: _Optional[int] = ..., synced_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., dirty: _Optional[bool] = ..., last_error: _Optional[str] = ..., conflicts: _Optional[_Iterable[str]] = ..., saves_on_change: _Optional[bool] = ..., lag: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., unsaved: _Optional[_Iterable[_Union[FileFailure, _Mapping]]] = ..., unsaved_count: _Optional[int] = ...) -> None: ...

class ListStoredRequest(_message.Message):
    __slots__ = ("prefix", "page_size", "page_token")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    page_size: int
    page_token: str
    def __init__(self, prefix: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class StoredFile(_message.Message):
    __slots__ = ("path", "size", "last_modified")
    PATH_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    LAST_MODIFIED_FIELD_NUMBER: _ClassVar[int]
    path: str
    size: int
    last_modified: _timestamp_pb2.Timestamp
    def __init__(self, path: _Optional[str] = ..., size: _Optional[int] = ..., last_modified: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListStoredResponse(_message.Message):
    __slots__ = ("files", "next_page_token")
    FILES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    files: _containers.RepeatedCompositeFieldContainer[StoredFile]
    next_page_token: str
    def __init__(self, files: _Optional[_Iterable[_Union[StoredFile, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class ReadStoredRequest(_message.Message):
    __slots__ = ("path",)
    PATH_FIELD_NUMBER: _ClassVar[int]
    path: str
    def __init__(self, path: _Optional[str] = ...) -> None: ...

class ReadStoredResponse(_message.Message):
    __slots__ = ("info", "data")
    INFO_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    info: StoredFile
    data: bytes
    def __init__(self, info: _Optional[_Union[StoredFile, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

class CheckStorageRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StorageCheck(_message.Message):
    __slots__ = ("operation", "problem")
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    operation: str
    problem: str
    def __init__(self, operation: _Optional[str] = ..., problem: _Optional[str] = ...) -> None: ...

class CheckStorageResponse(_message.Message):
    __slots__ = ("checks", "clock_offset")
    CHECKS_FIELD_NUMBER: _ClassVar[int]
    CLOCK_OFFSET_FIELD_NUMBER: _ClassVar[int]
    checks: _containers.RepeatedCompositeFieldContainer[StorageCheck]
    clock_offset: _duration_pb2.Duration
    def __init__(self, checks: _Optional[_Iterable[_Union[StorageCheck, _Mapping]]] = ..., clock_offset: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...
