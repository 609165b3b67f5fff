"""The sandbox image holds of this project only what its Dockerfile copies: that has to be enough for the runtime."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]
DOCKERFILE = REPOSITORY / "deploy/images/sandbox/Dockerfile"
PLACE = "/usr/local/lib/sandbox/"
IMPORT_ALL = """
import importlib, pkgutil, sys
sys.path.insert(0, sys.argv[1])
# An editable install would find in the repository what is missing there.
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
import sandbox_link, sandbox_runtime
for package in (sandbox_link, sandbox_runtime):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith(".__main__"):
            importlib.import_module(module.name)
print(sandbox_runtime.__file__)
"""


def copy_as_the_dockerfile_does(target: Path) -> None:
    for line in re.findall(r"^COPY (sandbox_(?:link|runtime) .*)$", DOCKERFILE.read_text(), re.MULTILINE):
        *sources, destination = line.split()
        place = target / destination.removeprefix(PLACE)
        for source in sources:
            if (REPOSITORY / source).is_dir():
                shutil.copytree(REPOSITORY / source, place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy(REPOSITORY / source, place)


def test_every_module_of_the_runtime_can_be_imported_from_what_the_image_copies(tmp_path):
    copy_as_the_dockerfile_does(tmp_path)
    done = subprocess.run(
        [sys.executable, "-I", "-c", IMPORT_ALL, str(tmp_path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "sandbox_runtime/__init__.py")


def test_no_module_of_the_runtime_comes_from_the_folder_that_it_starts_in(tmp_path):
    """The image starts in the workspace, where user code may leave a module of any name for the next start."""
    for name in ("argparse", "asyncio", "contextlib", "sandbox_runtime", "typing"):
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('took {name} from the workspace')")
    done = subprocess.run(
        ["sh", REPOSITORY / "deploy/images/sandbox/sandbox-runtime", "--help"],
        cwd=tmp_path,
        env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "SANDBOX_LINK_DIR" in done.stdout
