"""The agent client against a real gRPC server with mutual TLS."""

from datetime import UTC, datetime, timedelta

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from sandbox_operator.agent.client import AgentClient
from sandbox_operator.agent.model import AgentAddress
from sandbox_operator.errors import AgentError, AgentUnreachableError, NotLeadingError
from sandbox_operator.kube.write_hook import WriteHook
from sandbox_operator.pki.certificates import Authority, create_authority
from sandbox_proto import tracing
from sandbox_proto.v1 import session_pb2, session_pb2_grpc
from tests.support.recording import recorded

NAME = "pod.team.sandboxsessions.dev"


class Servicer(session_pb2_grpc.SessionServiceServicer):
    async def Describe(self, request, context):  # noqa: N802 - gRPC's name
        assert context.auth_context()["x509_common_name"] == [b"sandbox-operator"]
        return session_pb2.SessionDescription(state=2, session_uid="u", restore=2)

    async def Renew(self, request, context):  # noqa: N802 - gRPC's name
        sent = dict(context.invocation_metadata()).get("traceparent", "none")
        return session_pb2.SessionDescription(session_uid=sent)

    async def SetLifetime(self, request, context):  # noqa: N802 - gRPC's name
        if request.session_uid == "old":
            await super().SetLifetime(request, context)
        return session_pb2.SessionDescription(session_uid="u", remaining_lifetime=request.remaining)

    async def Bind(self, request, context):  # noqa: N802 - gRPC's name
        # A session's name is what the agent sends as the details of its refusal.
        details = (("grpc-status-details-bin", bytes.fromhex(request.session_name)),) if request.session_name else ()
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "another session", trailing_metadata=details)


@pytest.fixture
async def agent():
    authority = Authority(create_authority(datetime.now(UTC)))
    pair = authority.sign_server(NAME, datetime.now(UTC))
    credentials = grpc.ssl_server_credentials(
        [(pair.key, pair.certificate)], root_certificates=authority.pem, require_client_auth=True
    )
    server = grpc.aio.server()
    session_pb2_grpc.add_SessionServiceServicer_to_server(Servicer(), server)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    client = AgentClient(authority, WriteHook(), lambda: True)
    yield authority, client, f"127.0.0.1:{port}"
    await client.close()
    await server.stop(None)


async def test_the_operator_is_known_by_its_certificate_and_the_agent_by_its_name(agent):
    _, client, target = agent
    view = await client.describe(AgentAddress(target, NAME), timeout=10)
    assert (view.state, view.session_uid, view.restore) == ("BOUND", "u", "DONE")


async def test_an_agent_with_another_name_is_not_spoken_to(agent):
    _, client, target = agent
    with pytest.raises(AgentUnreachableError):
        await client.describe(AgentAddress(target, "other.team.sandboxsessions.dev"), timeout=1)


async def test_a_refusal_is_an_agent_error_and_a_write_needs_the_lease(agent):
    authority, client, target = agent
    with pytest.raises(AgentError, match="another session"):
        await client.bind(AgentAddress(target, NAME), session_pb2.BindRequest(session_uid="x"))
    standby = AgentClient(authority, WriteHook(), lambda: False)
    with pytest.raises(NotLeadingError):
        await standby.bind(AgentAddress(target, NAME), session_pb2.BindRequest(session_uid="x"))


async def test_a_lifetime_is_set_and_read_to_the_microsecond(agent):
    _, client, target = agent
    address = AgentAddress(target, NAME)
    view = await client.set_lifetime(address, "u", 1.25)
    assert view.remaining_lifetime == timedelta(seconds=1.25)
    assert (await client.describe(address, timeout=10)).remaining_lifetime is None, "it does not report any"
    with pytest.raises(AgentError) as caught:
        await client.set_lifetime(address, "old", 1.0)
    assert caught.value.reason == "UNIMPLEMENTED"


def details(code=9, message="another session", reason="ALREADY_BOUND"):
    status = status_pb2.Status(code=code, message=message)
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason))
    return status.SerializeToString()


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"", "FAILED_PRECONDITION"),
        (details(), "ALREADY_BOUND"),
        (details(reason="X" * 100), "X" * 64),
        (details(code=5), "FAILED_PRECONDITION"),
        (details(message="other"), "FAILED_PRECONDITION"),
        (b"\xff\xff", "FAILED_PRECONDITION"),
        (details()[:-4], "FAILED_PRECONDITION"),
    ],
    ids=["none", "valid", "long", "other code", "other message", "not protobuf", "cut off"],
)
async def test_a_refusals_reason_is_read_from_its_details_unless_they_are_malformed(agent, sent, reason):
    _, client, target = agent
    with pytest.raises(AgentError, match="another session") as caught:
        await client.bind(AgentAddress(target, NAME), session_pb2.BindRequest(session_name=sent.hex()))
    assert caught.value.reason == reason


async def test_a_call_within_a_trace_is_a_part_of_it_and_any_other_says_nothing_of_traces(agent):
    _, client, target = agent
    address, request = AgentAddress(target, NAME), session_pb2.RenewRequest(session_uid="u")
    with recorded() as spans:
        assert (await client.renew(address, request)).session_uid == "none"
        with tracing.span("reconcile"):
            sent = (await client.renew(address, request)).session_uid
        call, whole = spans.get_finished_spans()
    assert call.name == "sandbox.v1.SessionService/Renew"
    assert call.parent.span_id == whole.context.span_id
    assert sent.startswith(f"00-{call.context.trace_id:032x}-{call.context.span_id:016x}-")


async def test_only_the_connections_used_last_stay_open(agent, monkeypatch):
    _, client, target = agent
    monkeypatch.setattr("sandbox_operator.agent.client._MAX_CHANNELS", 2)
    host, _, port = target.rpartition(":")
    addresses = [AgentAddress(f"127.0.0.{number}:{port}" if number > 1 else target, NAME) for number in (1, 2, 3)]
    assert host == "127.0.0.1"
    for address in (addresses[0], addresses[0]):
        await client.describe(address, timeout=10)
    for address in addresses[1:]:
        with pytest.raises(AgentUnreachableError):
            await client.describe(address, timeout=0.2)
    assert list(client._channels) == addresses[1:]
    assert (await client.describe(addresses[0], timeout=10)).state == "BOUND"
    assert list(client._channels) == [addresses[2], addresses[0]]
