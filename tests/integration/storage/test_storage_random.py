"""Whatever happens between pushes, a restore is what the sandbox has: by changes in HEAD, and by manifests."""

from __future__ import annotations

import random
import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

FILES = "clusters/t1/work/code-interpreter/"
NAMES = ["a", "b", "c", "d/a", "d/b", "d/e/f", "g", "h/i"]


def change(sandbox, chance: random.Random) -> None:
    """One thing that a user does."""
    target = sandbox.root / chance.choice(NAMES)
    if chance.random() < 0.2 and target.parent != sandbox.root:
        target = target.parent
    for above in list(target.relative_to(sandbox.root).parents)[:-1]:
        if not (sandbox.root / above).is_dir():
            remove(sandbox.root / above)
    target.parent.mkdir(parents=True, exist_ok=True)
    is_file = target.is_file() and not target.is_symlink()
    match chance.choice(["write", "write", "same size", "mode", "remove", "link", "folder"]):
        case "same size" if is_file:
            target.write_bytes(chance.randbytes(target.stat().st_size))
        case "mode" if is_file:
            target.chmod(chance.choice([0o700, 0o755]))
        case "remove":
            remove(target)
        case "link":
            remove(target)
            target.symlink_to(chance.choice(NAMES))
        case "folder":
            remove(target)
            target.mkdir()
        case _:
            remove(target)
            target.write_bytes(chance.randbytes(chance.randrange(20)))


def remove(target: Path) -> None:
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)


@pytest.mark.parametrize("new_store", ["directory"], indirect=True)
@pytest.mark.parametrize("most", [256, 4, 0])
@pytest.mark.parametrize("seed", range(4))
async def test_whatever_happens_between_pushes_a_restore_is_what_the_sandbox_has(
    new_sandbox, new_store, monkeypatch, most, seed
):
    monkeypatch.setattr("sandbox_agent.storage.repository.delta.MAX_PATHS", most)
    chance, store = random.Random(seed), new_store()
    one = new_sandbox()
    for step in range(40):
        match chance.randrange(8):
            case 0:  # somebody else's new file comes first
                name = f"theirs-{step}"
                await store.put(FILES + name, chance.randbytes(9))
                await one.workspace.refresh()
            case 1:  # another session saves in between
                other = new_sandbox("pod-b")
                await other.restore()
                (other.root / f"other-{step}").write_bytes(b"of the other")
                assert list((await other.push()).failed) == []
                await one.workspace.refresh()
            case 2:  # the agent is another one
                await one.workspace.wait_for_pruning()
                one = new_sandbox(root=one.root)
            case 3:
                (one.root / "part").write_bytes(chance.randbytes(5))
                assert list((await one.push("part")).failed) == []
            case _:
                for _ in range(chance.randrange(4)):
                    change(one, chance)
        done = await one.push()
        assert [(failure.path, failure.reason) for failure in done.failed] == []
        fresh = new_sandbox("pod-c")
        assert list((await fresh.restore()).failed) == []
        assert fresh.tree() == one.tree(), f"step {step}"
        assert (await one.workspace.status()).dirty is False
        shutil.rmtree(fresh.root)
    kept = [key for key in await one.keys() if key.startswith(".workspace/")]
    assert len(kept) == 2
