"""Stored workspaces in a folder and in S3, as moto's server speaks it: list, show, delete, prune."""

import datetime as dt
import json
import os
import subprocess
import sys

import botocore.session
import pytest
from click.testing import CliRunner
from moto.server import ThreadedMotoServer

from sandbox_agent.storage.repository.head import Head, LockRecord, encode_head
from sandbox_client import (
    AsyncCluster,
    AsyncStoredWorkspaces,
    Cluster,
    Conflict,
    InvalidArgument,
    NotFound,
    SandboxUnavailable,
    SessionFailed,
    StoredWorkspaces,
    Unauthenticated,
)
from sandbox_client.cli import main
from sandbox_client.stored import workspaces as stored_module
from sandbox_client.stored.leases import held_workspaces, hold_workspace
from sandbox_client.stored.stores import open_objects
from tests.support.session_api import ApiServer, serve, session

SAVED = "2026-01-02T03:04:05.000000+00:00"


class Folder:
    """The folder of local sessions."""

    namespace = "local"

    def __init__(self, root):
        self.root = root
        (root / "local").mkdir(parents=True)

    def put(self, key, content):
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def stored_keys(self):
        return {str(path.relative_to(self.root)) for path in (self.root / "local").rglob("*") if path.is_file()}

    def open(self):
        return open_objects(self.root)


class Bucket:
    """A bucket, below a prefix."""

    namespace = "team"

    def __init__(self, client, endpoint, name):
        self.client, self.endpoint, self.name = client, endpoint, name
        client.create_bucket(Bucket=name)

    def put(self, key, content):
        self.client.put_object(Bucket=self.name, Key=f"boxes/{key}", Body=content)

    def stored_keys(self):
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name)
        return {each["Key"].removeprefix("boxes/") for page in pages for each in page.get("Contents", ())}

    @property
    def url(self):
        return f"s3://{self.name}/boxes/"

    def open(self):
        return open_objects(self.url, endpoint_url=self.endpoint)


@pytest.fixture(scope="module")
def moto():
    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(autouse=True)
def credentials(monkeypatch):
    for key, value in {
        "AWS_ACCESS_KEY_ID": "k",
        "AWS_SECRET_ACCESS_KEY": "s",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(key, value)


@pytest.fixture
def bucket(moto, request):
    client = botocore.session.Session().create_client(
        "s3", endpoint_url=moto, region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s"
    )
    return Bucket(client, moto, f"b-{abs(hash(request.node.nodeid))}")


@pytest.fixture(params=["folder", "bucket"])
def place(request, tmp_path):
    return Folder(tmp_path / "store") if request.param == "folder" else request.getfixturevalue("bucket")


@pytest.fixture
def users():
    return {}


@pytest.fixture
async def stored(place, users):
    async def find_users():
        return users

    async with AsyncStoredWorkspaces(place.open(), place.namespace, find_users) as stored:
        yield stored


@pytest.fixture
def api():
    yield from serve(ApiServer())


def fill(place, name, *, lock=None, files=3, writer=None, namespace=None):
    """Store a workspace as an agent would, with its last session's name."""
    prefix = f"{namespace or place.namespace}/{name}/"
    pushing = LockRecord(2, f"{place.namespace}/{lock} uid", SAVED) if lock else None
    head = Head(1, "", f"{writer or place.namespace + '/' + name} uid-1", SAVED, pushing)
    place.put(f"{prefix}.workspace/HEAD", encode_head(head))
    for number in range(files):
        place.put(f"{prefix}code-interpreter/{number}.txt", b"x" * 100)
    return {key for key in place.stored_keys() if key.startswith(prefix)}


async def test_a_list_has_size_age_and_last_session_of_one_namespace(place, stored):
    fill(place, "analysis")
    fill(place, "other", files=0, writer=f"{place.namespace}/another-session")
    fill(place, "elsewhere", namespace="team-b")
    first, second = await stored.list()
    assert (first.name, first.objects, first.last_session) == ("analysis", 4, f"{place.namespace}/analysis")
    assert first.bytes == 300 + second.bytes - len("another-session") + len("analysis")
    assert first.saved == dt.datetime.fromisoformat(SAVED)
    assert dt.timedelta(0) <= first.age() + dt.timedelta(seconds=2) < dt.timedelta(minutes=1)
    assert (second.last_session, second.pushing, second.used_by) == (f"{place.namespace}/another-session", "", "")
    assert await stored.get("analysis") == first


async def test_an_empty_store_has_no_workspaces(stored):
    assert await stored.list() == []
    assert await stored.prune("1s") == []


@pytest.mark.parametrize("head", [None, b"", b"[]", b'{"writer": 5, "pushing": "x"}', b"\xff", b"[" * 100_000])
async def test_a_workspace_whose_head_is_missing_or_damaged_is_listed_too(place, stored, head):
    place.put(f"{place.namespace}/odd/code-interpreter/a", b"12345")
    if head is not None:
        place.put(f"{place.namespace}/odd/.workspace/HEAD", head)
    (found,) = await stored.list()
    assert (found.name, found.saved, found.last_session) == ("odd", None, "")
    assert found.bytes == 5 + len(head or b"")


async def test_a_deletion_takes_this_workspace_and_no_other(place, stored):
    mine = fill(place, "analysis")
    others = fill(place, "analysis-2") | fill(place, "analysis", namespace="team-b") | fill(place, "analys")
    assert (await stored.delete("analysis")).objects == len(mine)
    assert place.stored_keys() == others
    with pytest.raises(NotFound, match=rf"no workspace analysis in .*/{place.namespace}/"):
        await stored.delete("analysis")


async def test_a_workspace_in_use_is_deleted_only_by_force(place, stored, users):
    fill(place, "analysis")
    users["analysis"] = "session nightly"
    with pytest.raises(Conflict, match="workspace analysis is in use by session nightly") as caught:
        await stored.delete("analysis")
    assert caught.value.reason == "WORKSPACE_IN_USE"
    assert (await stored.list())[0].used_by == "session nightly"
    await stored.delete("analysis", force=True)
    assert place.stored_keys() == set()


async def test_a_push_that_is_running_protects_the_workspace_and_an_abandoned_one_does_not(place, stored, monkeypatch):
    fill(place, "analysis", lock="writer")
    with pytest.raises(Conflict, match=rf"{place.namespace}/writer is pushing to workspace analysis"):
        await stored.delete("analysis")
    monkeypatch.setattr(stored_module, "LOCK_SECONDS", -60)
    await stored.delete("analysis")
    assert place.stored_keys() == set()


async def test_a_push_during_a_deletion_stops_it(place, stored, monkeypatch):
    fill(place, "analysis")
    listing = stored._objects.list

    def push_meanwhile(prefix):
        yield from listing(prefix)
        place.put(f"{prefix}.workspace/HEAD", encode_head(Head(2, "", "x/new uid", "2026-01-02T03:04:06+00:00")))

    found = await stored.get("analysis")
    monkeypatch.setattr(stored._objects, "list", push_meanwhile)
    with pytest.raises(Conflict, match="changed while it was being deleted"):
        stored._delete(found, force=False)
    assert len(place.stored_keys()) == 4


async def test_an_interrupted_deletion_can_be_repeated(place, stored, monkeypatch):
    fill(place, "analysis")
    delete = stored._objects.delete

    batches = []

    def fail_at_head(keys):
        batches.append([key.rpartition("/")[2] for key in keys])
        if len(batches) > 1:
            raise SandboxUnavailable("away")
        delete(keys)

    monkeypatch.setattr(stored._objects, "delete", fail_at_head)
    with pytest.raises(SandboxUnavailable):
        await stored.delete("analysis")
    assert [sorted(batch) for batch in batches] == [["0.txt", "1.txt", "2.txt"], ["HEAD"]]
    assert [each.name for each in await stored.list()] == ["analysis"]
    monkeypatch.undo()
    await stored.delete("analysis")
    assert place.stored_keys() == set()


async def test_a_prune_deletes_what_is_old_unused_and_matches(place, stored, users):
    fill(place, "sandbox-1")
    fill(place, "sandbox-2")
    kept = fill(place, "named") | fill(place, "sandbox-3")
    users["sandbox-3"] = "session suspended-one"
    assert await stored.prune("1h") == []
    wanted = ["sandbox-1", "sandbox-2"]
    # The store's clock has whole seconds, or is this machine's.
    old = dt.timedelta(microseconds=1)
    before = place.stored_keys()
    assert [each.name for each in await stored.prune(old, match="sandbox-*", dry_run=True)] == wanted
    assert place.stored_keys() == before
    assert [each.name for each in await stored.prune(old, match="sandbox-*")] == wanted
    assert place.stored_keys() == kept


async def test_a_prune_leaves_a_workspace_that_a_session_began_to_use(place, users):
    fill(place, "analysis")
    calls = []

    async def find_users():
        calls.append(1)
        return {"analysis": "session new"} if len(calls) > 1 else {}

    async with AsyncStoredWorkspaces(place.open(), place.namespace, find_users) as stored:
        assert await stored.prune(dt.timedelta(microseconds=1)) == []
    assert len(place.stored_keys()) == 4


@pytest.mark.parametrize("older_than", ["soon", 0, -1, None])
async def test_a_prune_with_a_wrong_age_deletes_nothing(place, stored, older_than):
    fill(place, "analysis")
    with pytest.raises(InvalidArgument) as caught:
        await stored.prune(older_than)
    assert caught.value.field == "older_than"
    assert len(place.stored_keys()) == 4


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../local", "a\\b", "a\0", 5])
async def test_no_name_reaches_another_folder(place, stored, name):
    fill(place, "analysis")
    for call in (stored.get(name), stored.delete(name, force=True)):
        with pytest.raises(InvalidArgument, match=r"is not a name|give text"):
            await call
    assert len(place.stored_keys()) == 4


def test_a_symbolic_link_in_a_folder_is_not_followed(tmp_path):
    place = Folder(tmp_path / "store")
    fill(place, "analysis")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept.txt").write_text("kept")
    (place.root / "local/analysis/code-interpreter/link").symlink_to(outside)
    (place.root / "local/linked").symlink_to(outside)
    with StoredWorkspaces.open(place.root) as stored:
        assert [each.name for each in stored.list()] == ["analysis"]
        stored.delete("analysis")
    assert (outside / "kept.txt").read_text() == "kept"


def test_a_folder_that_cannot_be_read_is_an_error_and_not_an_empty_one(tmp_path, monkeypatch):
    place = Folder(tmp_path / "store")
    fill(place, "analysis")
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("code-interpreter"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with (
        StoredWorkspaces.open(place.root) as stored,
        pytest.raises(SandboxUnavailable, match=r"store .*: .*Permission denied.*code-interpreter"),
    ):
        stored.delete("analysis")
    monkeypatch.undo()
    assert len(place.stored_keys()) == 4


async def test_more_objects_than_fit_into_one_request_are_all_deleted(bucket, monkeypatch):
    monkeypatch.setattr("sandbox_client.stored.s3._PAGE", 3)
    monkeypatch.setattr(stored_module, "_BATCH", 5)
    fill(bucket, "large", files=12)

    async def no_users():
        return {}

    async with AsyncStoredWorkspaces(bucket.open(), "team", no_users) as stored:
        assert (await stored.get("large")).objects == 13
        await stored.delete("large")
    assert bucket.stored_keys() == set()


def test_the_cluster_client_knows_which_sessions_use_a_workspace(bucket, api, tmp_path):
    for name in ("asleep", "shared", "free"):
        fill(bucket, name)
    api.sessions = {"asleep": session("Suspended", "asleep"), "other": session("Ready", "other")}
    api.sessions["other"]["spec"]["workspace"] = {"name": "shared"}
    with (
        Cluster.open(kubeconfig=api.write_kubeconfig(tmp_path)) as cluster,
        cluster.workspaces(bucket.url, endpoint_url=bucket.endpoint) as stored,
    ):
        used = {each.name: each.used_by for each in stored.list()}
        assert used == {"asleep": "session asleep", "shared": "session other", "free": ""}
        assert [each.name for each in stored.prune(dt.timedelta(microseconds=1))] == ["free"]
        stored.close()
        assert cluster.list()


def test_the_sessions_of_the_cluster_must_be_readable_before_anything_is_deleted(bucket, api, tmp_path):
    fill(bucket, "free")
    api.refusal = (500, "away")
    with Cluster.open(kubeconfig=api.write_kubeconfig(tmp_path)) as cluster:
        stored = cluster.workspaces(bucket.url, endpoint_url=bucket.endpoint)
        with pytest.raises(NotFound, match="sessions of namespace team"):
            stored.prune(dt.timedelta(microseconds=1))
    assert len(bucket.stored_keys()) == 4


@pytest.mark.parametrize(
    ("store", "options", "words"),
    [
        ("s3://", {}, "has no bucket"),
        ("https://x/y", {}, "neither s3://BUCKET/PREFIX nor a folder"),
        ("/does/not/exist", {}, "is not a folder"),
        ("/tmp", {"endpoint_url": "http://x"}, "which is a folder"),
    ],
)
def test_a_wrong_store_is_refused_by_name(store, options, words):
    with pytest.raises(InvalidArgument, match=words):
        open_objects(store, **options)


async def test_errors_of_a_bucket_name_the_store(bucket, monkeypatch):
    async def no_users():
        return {}

    def stored(url, endpoint):
        return AsyncStoredWorkspaces(open_objects(url, endpoint_url=endpoint), "team", no_users)

    with pytest.raises(NotFound, match="store s3://missing-bucket"):
        await stored("s3://missing-bucket", bucket.endpoint).list()
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(SandboxUnavailable, match=f"store {bucket.url}: .*127.0.0.1:1"):
        await stored(bucket.url, "http://127.0.0.1:1").list()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    with pytest.raises(Unauthenticated, match=f"store {bucket.url}: there are no credentials: set AWS_ACCESS_KEY_ID"):
        await stored(bucket.url, bucket.endpoint).list()


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "botocore.session", None)
    with pytest.raises(SessionFailed, match="needs the package botocore"):
        open_objects("s3://bucket")


HOLD = """
import pathlib, sys, time
from sandbox_client.stored.leases import hold_workspace
with hold_workspace(pathlib.Path(sys.argv[1]), "analysis"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_workspace_is_held_until_the_process_of_its_session_has_ended_even_if_it_is_killed(tmp_path):
    assert held_workspaces(tmp_path) == []
    with hold_workspace(tmp_path, "a"), hold_workspace(tmp_path, "a"):
        assert held_workspaces(tmp_path) == ["a"]
    assert held_workspaces(tmp_path) == []
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"held\n"
        assert held_workspaces(tmp_path) == ["analysis"]
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    assert held_workspaces(tmp_path) == []


def test_a_session_with_a_name_holds_its_workspace_as_long_as_it_exists(tmp_path):
    store, other, record = tmp_path / "store", tmp_path / "other", tmp_path / "session.json"
    with hold_workspace(store, "a", record):
        pass
    other.mkdir()
    for content, held in [
        (json.dumps({"store": str(store)}), ["a"]),
        (json.dumps({"store": str(other)}), []),
        (json.dumps([]), []),
        ("{", []),
    ]:
        record.write_text(content)
        assert held_workspaces(store) == held
    record.unlink()
    assert held_workspaces(store) == []


def test_the_store_of_local_sessions_is_named_by_an_option(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert invoke("list", "--local", "-o", "json") == (0, "[]\n", "")
    assert invoke("show", "--local", "analysis")[0] == 125
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("SANDBOX_STORE", str(tmp_path / "none"))
    fill(Folder(tmp_path / "sandbox" / "store"), "analysis")
    assert "analysis" in invoke("list", "--local")[1]
    code, _, problem = invoke("list", "--local", "--store", str(tmp_path))
    assert (code, "give either --store or --local" in problem) == (2, True)
    monkeypatch.delenv("SANDBOX_STORE")
    code, _, problem = invoke("list")
    assert (code, "--local for those on this machine" in problem) == (2, True)


def invoke(*words, **options):
    done = CliRunner().invoke(main, ["workspaces", *words], **options)
    return done.exit_code, done.stdout, done.stderr


def test_the_command_line_lists_shows_deletes_and_prunes(tmp_path):
    place = Folder(tmp_path / "store")
    store = ("--store", str(place.root))
    for name in ("analysis", "sandbox-1", "sandbox-2"):
        fill(place, name)
    code, shown, _ = invoke("list", *store, "--output", "json")
    assert code == 0
    assert [(each["name"], each["objects"]) for each in json.loads(shown)] == [
        ("analysis", 4), ("sandbox-1", 4), ("sandbox-2", 4),
    ]  # fmt: skip
    assert "local/analysis" in invoke("list", *store)[1]
    assert "last session:  local/analysis" in invoke("show", "analysis", *store)[1]

    assert invoke("delete", "analysis", *store)[:2] == (2, "")
    assert "add --yes" in invoke("delete", "analysis", *store)[2]
    assert len(place.stored_keys()) == 12
    code, _, problem = invoke("delete", "analysis", "nope", "--yes", *store)
    assert (code, "there is no workspace nope" in problem) == (125, True)
    assert len(place.stored_keys()) == 12
    assert invoke("delete", "analysis", "--yes", *store)[:2] == (0, "analysis is deleted\n")

    for path in place.root.rglob("sandbox-1/**/*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    assert "sandbox-1" in invoke("prune", "--older-than", "30d", "--dry-run", *store)[1]
    assert invoke("prune", "--older-than", "30d", *store)[0] == 2
    assert invoke("prune", "--older-than", "never", *store)[0] == 2
    assert len(place.stored_keys()) == 8
    assert invoke("prune", "--older-than", "30d", "--yes", *store)[0] == 0
    assert {key.split("/")[1] for key in place.stored_keys()} == {"sandbox-2"}


def test_the_command_line_asks_the_cluster_about_a_bucket(bucket, api, tmp_path):
    fill(bucket, "analysis")
    api.sessions = {"analysis": session("Ready", "analysis")}
    where = ("--kubeconfig", api.write_kubeconfig(tmp_path), "--store", bucket.url, "--endpoint-url", bucket.endpoint)
    assert "session analysis" in invoke("list", *where)[1]
    code, _, problem = invoke("delete", "analysis", "--yes", *where)
    assert (code, "in use by session analysis" in problem) == (125, True)
    assert invoke("delete", "analysis", "--yes", "--force", *where)[0] == 0
    assert bucket.stored_keys() == set()


def test_options_of_a_bucket_are_refused_for_a_folder(tmp_path):
    code, _, problem = invoke("list", "--store", str(tmp_path), "--region", "eu-west-1")
    assert (code, "has no meaning for the folder" in problem) == (2, True)


async def test_a_bucket_is_opened_by_the_cluster_client():
    with pytest.raises(InvalidArgument, match=r"Open a bucket with AsyncCluster\.workspaces"):
        await AsyncStoredWorkspaces.open("s3://bucket")
    assert AsyncCluster.workspaces.__doc__
