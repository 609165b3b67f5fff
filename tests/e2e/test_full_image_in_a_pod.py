"""R22 in a pod: the image with 200+ libraries. `make e2e-full` runs it, after `make images-full` and `make cluster`."""

import importlib.util
import json
from collections.abc import Iterator

import pytest

from sandbox_client import Sandbox
from tests.e2e.support.kubectl import Kubectl
from tests.e2e.support.platform import REPOSITORY, Platform
from tests.e2e.support.sessions import Sessions, build_template

pytestmark = pytest.mark.full_image

IMPORT_ALL = """
import concurrent.futures, json, subprocess, sys

def failure(module):
    done = subprocess.run([sys.executable, "-c", f"import {{module}}"], capture_output=True, text=True)
    return done.stderr.strip()[-300:] if done.returncode else ""

modules = json.loads({modules!r})
with concurrent.futures.ThreadPoolExecutor(2) as pool:
    errors = dict(zip(modules, pool.map(failure, modules.values())))
print(json.dumps({{name: error for name, error in errors.items() if error}}))
"""


@pytest.fixture(scope="module")
def check():
    """The check that runs in the image without a cluster: its names and its cells are ours."""
    spec = importlib.util.spec_from_file_location("check", REPOSITORY / "deploy/images/sandbox-full/check.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def sandbox(platform: Platform, kubectl: Kubectl) -> Iterator[Sandbox]:
    resources = {"default": {"limits": {"cpu": "2", "memory": "4Gi"}, "requests": {"cpu": "100m", "memory": "256Mi"}}}
    image = platform.image("sandbox-full")
    kubectl.apply(build_template("full", image, resources=resources, limits={"executionTimeout": "600s"}))
    sessions = Sessions(kubectl)
    try:
        name = sessions.ready(templateRef={"name": "full"})
        with sessions.connect(name) as sandbox:
            yield sandbox
    finally:
        sessions.close()


def test_r22_all_58_promised_libraries_import(sandbox: Sandbox, check):
    assert len(check.NAMED) == 58
    done = sandbox.run_code(IMPORT_ALL.format(modules=json.dumps(check.NAMED)))
    assert done.error is None
    assert json.loads(done.stdout) == {}


def test_r22_more_than_200_packages_are_there(sandbox: Sandbox, check):
    listed = json.loads(sandbox.run("pip list --format=json --disable-pip-version-check").stdout)
    assert len(listed) >= check.MINIMUM


def test_r22_a_model_is_trained_and_drawn(sandbox: Sandbox, check):
    done = sandbox.run_code(check.LEARN_AND_PLOT)
    assert done.error is None
    weight, bias, has_cuda = done.stdout.split()
    assert (float(weight), float(bias)) == (pytest.approx(3, abs=0.05), pytest.approx(1, abs=0.05))
    assert has_cuda == "False"
    assert any("image/png" in result.data for result in done.results)


def test_r22_libraries_that_need_programs_of_the_system_work(sandbox: Sandbox, check):
    done = sandbox.run_code(check.NATIVE)
    assert done.error is None, done.error
