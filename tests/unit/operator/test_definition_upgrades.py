"""The CustomResourceDefinitions follow the operator's version, whatever was in the cluster before."""

import copy

import pytest

from sandbox_operator.api.crds import VERSION_ANNOTATION, build_definitions
from sandbox_operator.app import definitions
from sandbox_operator.kube.resources import DEFINITIONS
from sandbox_testing.api_server import FakeKube

SESSIONS = "sandboxsessions.sandboxsessions.dev"


@pytest.fixture
def kube() -> FakeKube:
    return FakeKube()


async def put(kube, **changes):
    definition = copy.deepcopy(build_definitions()["sandboxsessions.yaml"])
    definition["metadata"] |= changes
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = {"type": "object", "properties": {"gone": {}}}
    await kube.create(DEFINITIONS, "", definition)


async def test_missing_definitions_are_created(kube):
    assert await definitions.apply_definitions(kube) == [
        f"{name}.sandboxsessions.dev: created" for name in ("sandboxsessions", "sandboxtemplates", "sandboxwarmpools")
    ]
    stored = await kube.get(DEFINITIONS, "", SESSIONS)
    assert stored["spec"] == build_definitions()["sandboxsessions.yaml"]["spec"]


@pytest.mark.parametrize("annotations", [{}, {VERSION_ANNOTATION: "0.0.9", "kept": "yes"}])
async def test_an_older_definition_is_replaced_as_a_whole(kube, annotations):
    await put(kube, annotations=annotations)
    lines = await definitions.apply_definitions(kube)
    assert lines[0] == f"{SESSIONS}: upgraded"
    stored = await kube.get(DEFINITIONS, "", SESSIONS)
    assert stored["spec"] == build_definitions()["sandboxsessions.yaml"]["spec"]
    own = build_definitions()["sandboxsessions.yaml"]["metadata"]["annotations"]
    assert stored["metadata"]["annotations"] == annotations | own


async def test_a_newer_definition_stays_since_objects_may_use_its_fields(kube):
    await put(kube, annotations={VERSION_ANNOTATION: "10.0.0"})
    before = await kube.get(DEFINITIONS, "", SESSIONS)
    lines = await definitions.apply_definitions(kube)
    assert lines[0].startswith(f"{SESSIONS}: kept, because version 10.0.0 is newer than ")
    assert await kube.get(DEFINITIONS, "", SESSIONS) == before


async def test_a_second_run_changes_nothing(kube):
    await definitions.apply_definitions(kube)
    before = copy.deepcopy(kube.objects)
    assert len(await definitions.apply_definitions(kube)) == 3
    for key, stored in kube.objects.items():
        assert stored["spec"] == before[key]["spec"]
        assert stored["metadata"]["annotations"] == before[key]["metadata"]["annotations"]
