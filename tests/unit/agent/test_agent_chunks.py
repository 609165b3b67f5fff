from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError

from sandbox_proto.chunks import (
    decode_read_response,
    decode_write_request,
    encode_read_response,
    encode_write_request,
)
from sandbox_proto.v1.file_pb2 import ReadResponse, WriteRequest

SIZES = [0, 1, 127, 128, 16383, 16384, 1 << 20, (1 << 21) + 1]


@pytest.mark.parametrize("size", SIZES)
def test_a_chunk_is_encoded_as_protobuf_encodes_it(size):
    data = b"\x12" * size
    assert encode_write_request(data) == WriteRequest(data=data).SerializeToString()
    assert encode_read_response(memoryview(data)) == ReadResponse(data=data).SerializeToString()


@pytest.mark.parametrize("size", SIZES)
def test_a_chunk_is_decoded_to_the_bytes_of_its_message(size):
    data = b"\x12" * size
    for message, decode in (
        (WriteRequest(data=data), decode_write_request),
        (ReadResponse(data=data), decode_read_response),
    ):
        decoded = decode(message.SerializeToString())
        assert isinstance(decoded, memoryview)
        assert decoded == data


def test_what_is_no_single_chunk_is_protobufs():
    opening = WriteRequest(open={"path": "a", "mode": 0o600})
    assert decode_write_request(encode_write_request(opening)) == opening
    info = ReadResponse(info={"path": "a"})
    assert decode_read_response(encode_read_response(info)) == info
    two = WriteRequest(data=b"one").SerializeToString() + WriteRequest(data=b"two").SerializeToString()
    assert decode_write_request(two) == WriteRequest(data=b"two")
    unknown = WriteRequest(data=b"one").SerializeToString() + b"\x78\x01"
    assert decode_write_request(unknown).data == b"one"
    assert decode_write_request(b"") == WriteRequest()
    padded = b"\x12\x83\x80\x00abc"  # a length that is longer than it need be is allowed
    assert bytes(decode_write_request(padded)) == b"abc"


@pytest.mark.parametrize(
    "message", [b"\x12", b"\x12\x05abc", b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\xff"]
)
def test_a_chunk_that_is_cut_short_is_refused(message):
    with pytest.raises(DecodeError):
        decode_write_request(message)
