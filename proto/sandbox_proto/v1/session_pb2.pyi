import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from sandbox_proto.v1 import types_pb2 as _types_pb2
from sandbox_proto.v1 import workspace_pb2 as _workspace_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class BindRequest(_message.Message):
    __slots__ = ("session_uid", "session_name", "token_sha256", "env", "limits", "workspace", "lifecycle", "wait")
    class EnvEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SESSION_UID_FIELD_NUMBER: _ClassVar[int]
    SESSION_NAME_FIELD_NUMBER: _ClassVar[int]
    TOKEN_SHA256_FIELD_NUMBER: _ClassVar[int]
    ENV_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    WORKSPACE_FIELD_NUMBER: _ClassVar[int]
    LIFECYCLE_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    session_uid: str
    session_name: str
    token_sha256: bytes
    env: _containers.ScalarMap[str, str]
    limits: Limits
    workspace: WorkspaceBinding
    lifecycle: Lifecycle
    wait: _duration_pb2.Duration
    def __init__(self, session_uid: _Optional[str] = ..., session_name: _Optional[str] = ..., token_sha256: _Optional[bytes] = ..., env: _Optional[_Mapping[str, str]] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., workspace: _Optional[_Union[WorkspaceBinding, _Mapping]] = ..., lifecycle: _Optional[_Union[Lifecycle, _Mapping]] = ..., wait: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("execution_timeout", "output_bytes", "processes", "file_bytes", "languages", "deny_network", "memory_bytes")
    EXECUTION_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_BYTES_FIELD_NUMBER: _ClassVar[int]
    PROCESSES_FIELD_NUMBER: _ClassVar[int]
    FILE_BYTES_FIELD_NUMBER: _ClassVar[int]
    LANGUAGES_FIELD_NUMBER: _ClassVar[int]
    DENY_NETWORK_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    execution_timeout: _duration_pb2.Duration
    output_bytes: int
    processes: int
    file_bytes: int
    languages: _containers.RepeatedScalarFieldContainer[_types_pb2.Language]
    deny_network: bool
    memory_bytes: int
    def __init__(self, execution_timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., output_bytes: _Optional[int] = ..., processes: _Optional[int] = ..., file_bytes: _Optional[int] = ..., languages: _Optional[_Iterable[_Union[_types_pb2.Language, str]]] = ..., deny_network: _Optional[bool] = ..., memory_bytes: _Optional[int] = ...) -> None: ...

class Lifecycle(_message.Message):
    __slots__ = ("max_lifetime", "keep_variables")
    MAX_LIFETIME_FIELD_NUMBER: _ClassVar[int]
    KEEP_VARIABLES_FIELD_NUMBER: _ClassVar[int]
    max_lifetime: _duration_pb2.Duration
    keep_variables: bool
    def __init__(self, max_lifetime: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., keep_variables: _Optional[bool] = ...) -> None: ...

class WorkspaceBinding(_message.Message):
    __slots__ = ("s3", "directory", "key_prefix", "exclude", "max_staleness", "save_on_change", "max_bytes")
    S3_FIELD_NUMBER: _ClassVar[int]
    DIRECTORY_FIELD_NUMBER: _ClassVar[int]
    KEY_PREFIX_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_FIELD_NUMBER: _ClassVar[int]
    MAX_STALENESS_FIELD_NUMBER: _ClassVar[int]
    SAVE_ON_CHANGE_FIELD_NUMBER: _ClassVar[int]
    MAX_BYTES_FIELD_NUMBER: _ClassVar[int]
    s3: S3Store
    directory: DirectoryStore
    key_prefix: str
    exclude: _containers.RepeatedScalarFieldContainer[str]
    max_staleness: _duration_pb2.Duration
    save_on_change: bool
    max_bytes: int
    def __init__(self, s3: _Optional[_Union[S3Store, _Mapping]] = ..., directory: _Optional[_Union[DirectoryStore, _Mapping]] = ..., key_prefix: _Optional[str] = ..., exclude: _Optional[_Iterable[str]] = ..., max_staleness: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., save_on_change: _Optional[bool] = ..., max_bytes: _Optional[int] = ...) -> None: ...

class S3Store(_message.Message):
    __slots__ = ("bucket", "endpoint", "region", "access_key_id", "secret_access_key", "session_token", "expires_at", "path_style", "ca_certificates")
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    ACCESS_KEY_ID_FIELD_NUMBER: _ClassVar[int]
    SECRET_ACCESS_KEY_FIELD_NUMBER: _ClassVar[int]
    SESSION_TOKEN_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    PATH_STYLE_FIELD_NUMBER: _ClassVar[int]
    CA_CERTIFICATES_FIELD_NUMBER: _ClassVar[int]
    bucket: str
    endpoint: str
    region: str
    access_key_id: str
    secret_access_key: str
    session_token: str
    expires_at: _timestamp_pb2.Timestamp
    path_style: bool
    ca_certificates: str
    def __init__(self, bucket: _Optional[str] = ..., endpoint: _Optional[str] = ..., region: _Optional[str] = ..., access_key_id: _Optional[str] = ..., secret_access_key: _Optional[str] = ..., session_token: _Optional[str] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., path_style: _Optional[bool] = ..., ca_certificates: _Optional[str] = ...) -> None: ...

class DirectoryStore(_message.Message):
    __slots__ = ("path",)
    PATH_FIELD_NUMBER: _ClassVar[int]
    path: str
    def __init__(self, path: _Optional[str] = ...) -> None: ...

class RenewRequest(_message.Message):
    __slots__ = ("session_uid", "s3")
    SESSION_UID_FIELD_NUMBER: _ClassVar[int]
    S3_FIELD_NUMBER: _ClassVar[int]
    session_uid: str
    s3: S3Store
    def __init__(self, session_uid: _Optional[str] = ..., s3: _Optional[_Union[S3Store, _Mapping]] = ...) -> None: ...

class SetLifetimeRequest(_message.Message):
    __slots__ = ("session_uid", "remaining")
    SESSION_UID_FIELD_NUMBER: _ClassVar[int]
    REMAINING_FIELD_NUMBER: _ClassVar[int]
    session_uid: str
    remaining: _duration_pb2.Duration
    def __init__(self, session_uid: _Optional[str] = ..., remaining: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class DrainRequest(_message.Message):
    __slots__ = ("session_uid", "grace", "require_all_files", "time_limit")
    SESSION_UID_FIELD_NUMBER: _ClassVar[int]
    GRACE_FIELD_NUMBER: _ClassVar[int]
    REQUIRE_ALL_FILES_FIELD_NUMBER: _ClassVar[int]
    TIME_LIMIT_FIELD_NUMBER: _ClassVar[int]
    session_uid: str
    grace: _duration_pb2.Duration
    require_all_files: bool
    time_limit: _duration_pb2.Duration
    def __init__(self, session_uid: _Optional[str] = ..., grace: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., require_all_files: _Optional[bool] = ..., time_limit: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class DescribeRequest(_message.Message):
    __slots__ = ("wait",)
    WAIT_FIELD_NUMBER: _ClassVar[int]
    wait: _duration_pb2.Duration
    def __init__(self, wait: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class SessionDescription(_message.Message):
    __slots__ = ("state", "session_uid", "restore", "restore_error", "workspace", "last_active", "running", "runtime_ready", "runtime_id", "agent_version", "processes", "processes_ended", "credentials_expire_at", "needs_credentials", "idle", "remaining_lifetime")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[SessionDescription.State]
        STATE_BLANK: _ClassVar[SessionDescription.State]
        STATE_BOUND: _ClassVar[SessionDescription.State]
        STATE_DRAINING: _ClassVar[SessionDescription.State]
        STATE_DRAINED: _ClassVar[SessionDescription.State]
    STATE_UNSPECIFIED: SessionDescription.State
    STATE_BLANK: SessionDescription.State
    STATE_BOUND: SessionDescription.State
    STATE_DRAINING: SessionDescription.State
    STATE_DRAINED: SessionDescription.State
    class RestoreState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        RESTORE_STATE_UNSPECIFIED: _ClassVar[SessionDescription.RestoreState]
        RESTORE_STATE_RUNNING: _ClassVar[SessionDescription.RestoreState]
        RESTORE_STATE_DONE: _ClassVar[SessionDescription.RestoreState]
        RESTORE_STATE_FAILED: _ClassVar[SessionDescription.RestoreState]
    RESTORE_STATE_UNSPECIFIED: SessionDescription.RestoreState
    RESTORE_STATE_RUNNING: SessionDescription.RestoreState
    RESTORE_STATE_DONE: SessionDescription.RestoreState
    RESTORE_STATE_FAILED: SessionDescription.RestoreState
    STATE_FIELD_NUMBER: _ClassVar[int]
    SESSION_UID_FIELD_NUMBER: _ClassVar[int]
    RESTORE_FIELD_NUMBER: _ClassVar[int]
    RESTORE_ERROR_FIELD_NUMBER: _ClassVar[int]
    WORKSPACE_FIELD_NUMBER: _ClassVar[int]
    LAST_ACTIVE_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_READY_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_ID_FIELD_NUMBER: _ClassVar[int]
    AGENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    PROCESSES_FIELD_NUMBER: _ClassVar[int]
    PROCESSES_ENDED_FIELD_NUMBER: _ClassVar[int]
    CREDENTIALS_EXPIRE_AT_FIELD_NUMBER: _ClassVar[int]
    NEEDS_CREDENTIALS_FIELD_NUMBER: _ClassVar[int]
    IDLE_FIELD_NUMBER: _ClassVar[int]
    REMAINING_LIFETIME_FIELD_NUMBER: _ClassVar[int]
    state: SessionDescription.State
    session_uid: str
    restore: SessionDescription.RestoreState
    restore_error: str
    workspace: _workspace_pb2.WorkspaceStatus
    last_active: _timestamp_pb2.Timestamp
    running: int
    runtime_ready: bool
    runtime_id: str
    agent_version: str
    processes: int
    processes_ended: int
    credentials_expire_at: _timestamp_pb2.Timestamp
    needs_credentials: bool
    idle: _duration_pb2.Duration
    remaining_lifetime: _duration_pb2.Duration
    def __init__(self, state: _Optional[_Union[SessionDescription.State, str]] = ..., session_uid: _Optional[str] = ..., restore: _Optional[_Union[SessionDescription.RestoreState, str]] = ..., restore_error: _Optional[str] = ..., workspace: _Optional[_Union[_workspace_pb2.WorkspaceStatus, _Mapping]] = ..., last_active: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., running: _Optional[int] = ..., runtime_ready: _Optional[bool] = ..., runtime_id: _Optional[str] = ..., agent_version: _Optional[str] = ..., processes: _Optional[int] = ..., processes_ended: _Optional[int] = ..., credentials_expire_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., needs_credentials: _Optional[bool] = ..., idle: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., remaining_lifetime: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...
