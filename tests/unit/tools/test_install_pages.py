"""The install pages: their files exist, their values render, and they say what was not tried."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support.install_pages import PAGES, ROOT, commands, values_of

CHART = ROOT / "deploy/helm/sandbox-operator"
CLUSTERS = {"kind", "k3d", "eks", "gke", "aks", "openshift"}
OURS = {"kubectl", "helm", "sandbox", "make", "eval", "tests/e2e/cluster/sandbox-cluster", "sed"}
HELM_COMMANDS = {
    tuple(values_of(words)): words
    for page in PAGES
    for words in commands(page)
    if words[0] == "helm" and values_of(words)
}


def render(helm: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [helm, "template", "sandbox-operator", str(CHART), "--namespace", "sandbox-system", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def objects(done: subprocess.CompletedProcess[str]) -> list[dict]:
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def test_there_is_a_page_for_each_kind_of_cluster_with_a_way_to_the_first_session():
    pages = {page.stem: commands(page) for page in PAGES}
    assert pages.keys() >= CLUSTERS
    for name in CLUSTERS:
        words = [" ".join(command) for command in pages[name]]
        first = next(index for index, text in enumerate(words) if text.startswith("sandbox run"))
        assert first <= 11, name
        assert any(f"values-{name}.yaml" in text for text in words[:first]), name
        assert words[first - 1].startswith("sandbox create"), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_names_the_programs_that_were_not_tried(page):
    programs = {words[0] for words in commands(page)} - OURS
    named = set(re.findall(r"[\w-]+", " ".join(re.findall(r"\*Not tried here: ([^*.]*)", page.read_text()))))
    assert programs - named == set()


def test_every_file_that_a_command_names_exists_and_every_example_is_named():
    named = {
        word
        for page in PAGES
        for words in commands(page)
        for word in words
        if word.startswith(("examples/", "deploy/")) and not word.endswith("/.")
    }
    assert {name for name in named if not (ROOT / name).exists()} == set()
    texts = "".join(page.read_text() for page in PAGES)
    examples = {path.name for path in (ROOT / "examples/install").iterdir()}
    # A private CA is set by --set-file in the page.
    assert {name for name in examples if name not in texts} == {"values-private-ca.yaml"}


@pytest.mark.parametrize("files", HELM_COMMANDS, ids=lambda files: "+".join(Path(name).stem for name in files))
def test_the_values_of_a_page_render_and_pass_lint(helm, files):
    options = [part for name in files for part in ("--values", name)]
    rendered = objects(render(helm, *options))
    assert {"Deployment", "Job", "SandboxTemplate"} <= {each["kind"] for each in rendered}
    lint = subprocess.run([helm, "lint", str(CHART), "--strict", *options], cwd=ROOT, capture_output=True, check=False)
    assert lint.returncode == 0, lint.stdout


def test_every_image_comes_from_the_registry_unless_its_repository_is_complete(helm):
    more = "--set=images.registry=r.example/x/,images.agent.repository=other/agent,images.sandbox.tag=v7"
    deployment = next(each for each in objects(render(helm, more)) if each["kind"] == "Deployment")
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    environment = {each["name"]: each.get("value") for each in container["env"]}
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    assert container["image"] == f"r.example/x/sandbox-operator:{version}"
    assert environment["SANDBOX_OPERATOR_AGENT_IMAGE"] == f"other/agent:{version}"
    assert environment["SANDBOX_OPERATOR_SANDBOX_IMAGE"] == "r.example/x/sandbox-slim:v7"


def test_without_images_the_chart_says_what_to_set(helm):
    done = render(helm)
    assert done.returncode != 0
    assert "images.registry is not set: set it to the registry" in done.stderr


def test_an_upgrade_with_the_values_of_an_older_chart_still_upgrades_the_crds(helm, tmp_path):
    # `--reuse-values` leaves out what the older chart did not have.
    values = tmp_path / "values.yaml"
    values.write_text(
        "images: {registry: null, operator: {repository: a/b}, agent: {repository: a/c}, sandbox: {repository: a/d}}\n"
        "crds: null\ndoctor: null\n"
    )
    kinds = [each["kind"] for each in objects(render(helm, "--values", str(values)))]
    assert "Job" in kinds
    assert "Pod" in kinds


def test_the_hooks_can_be_switched_off_and_leave_no_object(helm):
    off = "--set=images.registry=r,crds.upgrade=false,doctor.test=false"
    rendered = objects(render(helm, off))
    assert not [each for each in rendered if "helm.sh/hook" in (each["metadata"].get("annotations") or {})]


def test_pods_of_hooks_are_hardened_and_have_no_label_of_the_operator(helm):
    rendered = objects(render(helm, "--set=images.registry=r"))
    operator = next(each for each in rendered if each["kind"] == "Deployment")["spec"]["selector"]["matchLabels"]
    hooks = [each for each in rendered if each["kind"] in {"Job", "Pod"}]
    assert len(hooks) == 2
    for hook in hooks:
        pod = hook["spec"]["template"] if hook["kind"] == "Job" else hook
        assert not operator.items() <= pod["metadata"]["labels"].items()
        assert pod["spec"]["securityContext"]["runAsNonRoot"]
        (container,) = pod["spec"]["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_a_private_ca_is_mounted_and_told_to_the_operator(helm):
    options = ("--set=images.registry=r", "--values", "examples/install/values-private-ca.yaml")
    rendered = objects(render(helm, *options))
    (config,) = [each for each in rendered if each["kind"] == "ConfigMap"]
    assert "BEGIN CERTIFICATE" in config["data"]["ca.crt"]
    spec = next(each for each in rendered if each["kind"] == "Deployment")["spec"]["template"]["spec"]
    (mount,) = [each for each in spec["containers"][0]["volumeMounts"] if each["name"] == "storage-ca"]
    told = next(
        each["value"] for each in spec["containers"][0]["env"] if each["name"] == "SANDBOX_OPERATOR_STORAGE_CA_FILE"
    )
    assert told == f"{mount['mountPath']}/ca.crt"
    assert {"name": "storage-ca", "configMap": {"name": config["metadata"]["name"]}} in spec["volumes"]
    refused = render(helm, "--set=images.registry=r,storage.caCertificates=nonsense")
    assert "caCertificates" in refused.stderr
