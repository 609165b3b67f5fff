"""Bodies of uploads and downloads: gzip, forms, sizes, and single messages, with bounded room."""

import asyncio
import gzip
import zlib
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from sandbox_client.errors import FailedPrecondition, InvalidArgument, ResourceExhausted
from sandbox_gateway.doors.e2b.envd import protocol, rpc
from sandbox_gateway.doors.e2b.envd.files_http import download
from sandbox_gateway.doors.e2b.envd.paths import Place
from sandbox_gateway.doors.e2b.upload_bodies import FormReader, unpack

FORM = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n%s\r\n--x--\r\n'


async def pieces(*chunks):
    for chunk in chunks:
        yield chunk


def request_of(*chunks, query="", **headers):
    """Return a request, and the list of the chunks that nobody has read yet."""
    left = list(chunks)

    async def receive():
        return {"type": "http.request", "body": left.pop(0) if left else b"", "more_body": bool(left)}

    given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": "/x", "query_string": query.encode(), "headers": given}
    return Request(scope, receive), left


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=4), st.integers(1, 40))
def test_gzip_files_in_a_row_are_unpacked(parts, size):
    packed = b"".join(map(gzip.compress, parts))
    chunks = [packed[at : at + size] for at in range(0, len(packed), size)]

    async def run():
        return b"".join([piece async for piece in unpack(pieces(*chunks))])

    assert asyncio.run(run()) == b"".join(parts)


async def test_what_follows_gzip_is_refused_at_once():
    left = [b"x" * 65536] * 100

    async def body():
        yield gzip.compress(b"a")
        while left:
            yield left.pop()

    with pytest.raises(InvalidArgument, match="not gzip"):
        [piece async for piece in unpack(body())]
    assert len(left) == 99


async def test_half_a_second_file_is_refused():
    with pytest.raises(InvalidArgument, match="too early"):
        [piece async for piece in unpack(pieces(gzip.compress(b"a") + gzip.compress(b"b" * 99)[:-3]))]


async def test_a_few_bytes_that_unpack_to_many_come_in_pieces():
    packed = zlib.compress(b"\0" * (50 << 20), wbits=31)
    sizes = [len(piece) async for piece in unpack(pieces(packed))]
    assert (sum(sizes), max(sizes) <= 1 << 20) == (50 << 20, True)


TYPE = {"content_type": "multipart/form-data; boundary=x"}


async def test_a_form_has_a_largest_size():
    forms = FormReader(1000, 5000)
    request, left = request_of(FORM % b"", *[b"y" * 600] * 50, **TYPE)
    with pytest.raises(ResourceExhausted) as caught:
        async with forms.read("s", request):
            pass
    assert (caught.value.reason, len(left)) == ("FILE_TOO_LARGE", 48)
    # What was refused takes no room any more.
    async with forms.read("s", request_of(FORM % b"abc", **TYPE)[0]) as form:
        assert await form["file"].read() == b"abc"
    assert not forms._used


async def test_forms_share_the_room():
    forms, size = FormReader(1000, 1500), 700

    def form(session):
        return forms.read(session, request_of(FORM % (b"y" * size), **TYPE)[0])

    async with form("s"):
        for session in ("s", "t"):
            with pytest.raises(ResourceExhausted, match="at the same time"):
                async with form(session):
                    pass
        size = 300
        async with form("t"):
            pass
    size = 700
    async with form("t"):
        pass


async def test_a_form_without_a_boundary_is_none():
    with pytest.raises(InvalidArgument):
        async with FormReader().read("s", request_of(b"", content_type="multipart/form-data")[0]):
            pass


async def test_a_call_with_two_messages_is_refused_at_the_second():
    request, left = request_of(*[protocol.envelope({})] * 50)
    method = rpc.Stream(lambda _call: None, {})
    with pytest.raises(InvalidArgument, match="one message"):
        await rpc._read_call(None, request, method, is_stream=True)
    assert len(left) == 48


async def test_a_file_that_became_shorter_is_cut_off():
    async def stream(_path, *, on_info):
        on_info(SimpleNamespace(size=5))
        yield b"abc"

    sandbox = SimpleNamespace(files=SimpleNamespace(stream=stream))
    answer = await download(SimpleNamespace(sandbox=sandbox, place=Place("/w")), request_of(query="path=a")[0])
    with pytest.raises(FailedPrecondition, match="shorter"):
        [chunk async for chunk in answer.body_iterator]


@pytest.mark.parametrize(
    ("size", "chunks", "length", "content"),
    [
        (5, [b"abc", b"de"], "5", b"abcde"),
        # The file has grown since.
        (5, [b"abc", b"defg", b"hi"], "5", b"abcde"),
        (2, [b"abcdef"], "2", b"ab"),
        # A file of the kernel says that it is empty.
        (0, [b"abc", b"de"], None, b"abcde"),
        (0, [], None, b""),
    ],
)
async def test_a_download_is_as_long_as_it_says(size, chunks, length, content):
    async def stream(_path, *, on_info):
        on_info(SimpleNamespace(size=size))
        for chunk in chunks:
            yield chunk

    sandbox = SimpleNamespace(files=SimpleNamespace(stream=stream))
    answer = await download(SimpleNamespace(sandbox=sandbox, place=Place("/w")), request_of(query="path=a")[0])
    assert answer.headers.get("content-length") == length
    assert b"".join([chunk async for chunk in answer.body_iterator]) == content
