"""Attacks on the object storage: rows 38 to 41.

Names of files are tried under runc, runc with a user namespace, and gVisor, since each passes them through another file
system. Prefixes and credentials are tried under runc alone: the store checks them, and it sees no isolation; an agent
under gVisor is also no process of the node, whose memory the test could search.
"""

from __future__ import annotations

import hashlib
import time
import unicodedata
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from sandbox_client import SandboxError
from tests.e2e.support.kubectl import RefusedError
from tests.e2e.support.sessions import Sessions
from tests.e2e.support.stolen import build_client, read_claims, search_agent, use

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from tests.e2e.support.arena import Arena
    from tests.e2e.support.kubectl import Kubectl
    from tests.e2e.support.platform import Platform

ODD_NAMES = (
    "%2e%2e%2fescape",
    "..%2f",
    "%00",
    "...",
    "a\\b",
    "a b",
    "?x=1&y#z",
    "+",
    "~",
    "é%C3%A9",
    ".workspace/HEAD",
)
MAKE_ODD = f"""
import os
for name in {ODD_NAMES!r}:
    os.makedirs(os.path.dirname("odd/" + name), exist_ok=True)
    open("odd/" + name, "w").write(name)
"""
OUTSIDE = ("../escape", "a/../../escape", "/escape", "./../escape", "a/\0b", "..", "a/..//../../escape")


def keys_of(platform: Platform) -> set[str]:
    """All keys of the bucket."""
    pages = platform.storage.client().get_paginator("list_objects_v2").paginate(Bucket=platform.storage.bucket)
    return {item["Key"] for page in pages for item in page.get("Contents", [])}


def test_attack_38_no_name_of_a_file_becomes_a_key_outside_the_workspace(arena: Arena, own_node: Platform):
    """Every new key is below the session's own prefix, and each file comes back as it is."""
    storage, sandbox = own_node.storage, arena.attacker
    before = keys_of(own_node)
    assert sandbox.run_code(MAKE_ODD).ok
    for path in OUTSIDE:
        calls: tuple[Callable[[str], Any], ...] = (
            lambda path: sandbox.files.write(path, "x"),
            lambda path: sandbox.workspace.push([path]),
            sandbox.workspace.read,
            sandbox.files.read,
        )
        for call in calls:
            with pytest.raises(SandboxError) as refusal:
                call(path)
            assert refusal.value.reason in {"INVALID_ARGUMENT", "PATH_OUTSIDE_WORKSPACE"}, (path, repr(refusal.value))
    # Two slashes are one, as for every program.
    assert sandbox.files.write("odd//twice", "twice").path == "odd/twice"
    assert sandbox.workspace.push().failed == ()
    own = f"{storage.prefix}/{arena.sessions.kubectl.namespace}/{arena.name}/"
    new = keys_of(own_node) - before
    assert new
    assert {key for key in new if not key.startswith(own)} == set()
    assert not [key for key in new if "//" in key or "/../" in key or "\0" in key]
    contents = {name: sandbox.workspace.read(f"code-interpreter/odd/{name}") for name in ODD_NAMES}
    assert contents == {name: name.encode() for name in ODD_NAMES}


@pytest.mark.parametrize("name", ["../t1", "a//b", "%2e%2e", "t1/", "a\\u0000", "", "T1", "a/../t1", "é"])
def test_attack_38_no_name_of_a_workspace_is_a_path(kubectl: Kubectl, name: str):
    """The API server refuses the session and names the field."""
    session = {
        "apiVersion": "sandboxsessions.dev/v1alpha1",
        "kind": "SandboxSession",
        "metadata": {"name": "row-38"},
        "spec": {"workspace": {"name": name}},
    }
    try:
        with pytest.raises(RefusedError, match=r"spec\.workspace\.name"):
            kubectl.apply(session)
    finally:
        kubectl.delete("sandboxsession", "row-38")


def test_attack_39_forms_and_cases_of_a_name_stay_distinct_files(arena: Arena, own_node: Platform):
    """Composed, decomposed, upper and lower case: six files with six contents, in storage and after a resume."""
    names = [
        *(unicodedata.normalize(form, f"{word}.txt") for form in ("NFC", "NFD") for word in ("Käse", "käse")),
        *("case.txt", "CASE.txt"),
    ]
    assert len(set(names)) == len(names)
    sessions = arena.sessions
    with sessions.connect(arena.name, is_direct=True) as sandbox:
        for name in names:
            sandbox.files.write(f"forms/{name}", name)
        assert sandbox.workspace.push().failed == ()
        stored = own_node.storage.digests(sessions.kubectl.namespace, arena.name)
        assert {name: stored[f"forms/{name}"] for name in names} == {name: digest(name) for name in names}
        assert sandbox.run("rm -r forms").ok
        assert sandbox.workspace.restore().failed == ()
        assert {name: sandbox.files.read(f"forms/{name}") for name in names} == {name: name.encode() for name in names}


def digest(text: str) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture(scope="module")
def neighbours(kubectl: Kubectl, own_node: Platform) -> Iterator[tuple[str, str]]:
    """Two sessions that are Ready, whose workspaces `t1` and `t10` are one the beginning of the other."""
    del own_node
    sessions = Sessions(kubectl)
    try:
        for name in ("t1", "t10"):
            sessions.create(name)
        for name in ("t1", "t10"):
            sessions.wait_phase(name, "Ready")
            with sessions.connect(name) as sandbox:
                sandbox.files.write("kept.txt", name)
                assert sandbox.workspace.push().failed == ()
        yield "t1", "t10"
    finally:
        sessions.close()


def test_attack_40_a_workspace_whose_name_begins_like_another_is_not_part_of_it(
    own_node: Platform, kubectl: Kubectl, neighbours: tuple[str, str]
):
    """Listing, saving and deleting the files of `t1` leaves those of `t10` alone, and the other way round."""
    sessions = Sessions(kubectl)
    for name in neighbours:
        with sessions.connect(name) as sandbox:
            listed = {each.path: sandbox.workspace.read(each.path) for each in sandbox.workspace.list()}
            assert listed == {"code-interpreter/kept.txt": name.encode()}
    with sessions.connect("t1") as sandbox:
        sandbox.files.remove("kept.txt")
        assert sandbox.workspace.push().failed == ()
    assert own_node.storage.digests(kubectl.namespace, "t1") == {}
    assert set(own_node.storage.digests(kubectl.namespace, "t10")) == {"kept.txt"}
    with sessions.connect("t1") as sandbox:
        sandbox.files.write("kept.txt", "t1")
        assert sandbox.workspace.push().failed == ()


def refusal(call, **arguments) -> str:
    """The error code of a call."""
    try:
        call(**arguments)
    except ClientError as error:
        return error.response["Error"]["Code"]
    return ""


def test_attack_41_credentials_stolen_from_an_agent_open_its_own_workspace_and_no_other(
    own_node: Platform, kubectl: Kubectl, neighbours: tuple[str, str]
):
    """Used outside of the pod, they are AccessDenied for all but `t1`, also for `t10`."""
    storage, sessions = own_node.storage, Sessions(kubectl)
    own, other = (storage.key(kubectl.namespace, name) for name in neighbours)
    source = {"Bucket": storage.bucket, "Key": f"{other}kept.txt"}
    pod = sessions.pod(neighbours[0])["metadata"]["name"]
    loot = search_agent(pod, {"the operator's secret": storage.secret_key, "the key prefix": own.split("code")[0]})
    assert loot.hits == {"the key prefix"}, "what the operator signs with is not in any agent"

    thief, bucket = use(loot, storage, own), {"Bucket": storage.bucket}
    assert thief.get_object(**bucket, Key=f"{own}kept.txt")["Body"].read() == b"t1"
    thief.put_object(**bucket, Key=f"{own}planted.txt", Body=b"")
    thief.delete_object(**bucket, Key=f"{own}planted.txt")
    refused = {
        "read": refusal(thief.get_object, **bucket, Key=f"{other}kept.txt"),
        "write": refusal(thief.put_object, **bucket, Key=f"{other}kept.txt", Body=b""),
        "delete": refusal(thief.delete_object, **bucket, Key=f"{other}kept.txt"),
        "copy": refusal(thief.copy_object, **bucket, Key=f"{own}copy.txt", CopySource=source),
        "upload": refusal(thief.create_multipart_upload, **bucket, Key=f"{other}kept.txt"),
        "list": refusal(thief.list_objects_v2, **bucket, Prefix=other),
        "list both": refusal(thief.list_objects_v2, **bucket, Prefix=own.split("/code")[0]),
        "list all": refusal(thief.list_objects_v2, **bucket),
        "policy": refusal(thief.get_bucket_policy, **bucket),
        "uploads": refusal(thief.list_multipart_uploads, **bucket),
    }
    assert refused == dict.fromkeys(refused, "AccessDenied")
    assert storage.client().get_object(**source)["Body"].read() == b"t10"
    claims = next(map(read_claims, loot.tokens))
    assert 0 < claims["exp"] - time.time() <= 3600
    # The very same words signed by nobody open nothing.
    (token, *_), secret = loot.tokens, "0" * 40
    forged = build_client(storage, claims["accessKey"], secret, token.decode())
    assert refusal(forged.get_object, **bucket, Key=f"{own}kept.txt") == "SignatureDoesNotMatch"
