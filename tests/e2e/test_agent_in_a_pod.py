"""An agent in the cluster, as examples/agent-deployment.yaml shows it, and one that lacks the label."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from tests.e2e.support.kubectl import Kubectl, RefusedError, poll, run
from tests.e2e.support.platform import REPOSITORY, TOOL, Platform

EXAMPLE = REPOSITORY / "examples/agent-deployment.yaml"
Deploy = Callable[[Callable[[dict[str, Any]], None]], None]


@pytest.fixture(scope="module")
def client_image(platform: Platform) -> str:
    """The client's image, in the cluster."""
    if platform.is_own:
        run(str(TOOL), "images", "client", timeout=1800)
    return platform.image("sandbox-client")


@pytest.fixture
def deploy(kubectl: Kubectl, client_image: str, operator_is_up: None) -> Iterator[Deploy]:
    """Applies the example with the tests' image, after a change to its Deployment. Cleans up after the test."""
    objects = list(yaml.safe_load_all(EXAMPLE.read_text()))

    def apply(change: Callable[[dict[str, Any]], None]) -> None:
        binding, deployment = objects[2], objects[-1]
        binding["subjects"][0]["namespace"] = kubectl.namespace
        deployment["spec"]["template"]["spec"]["containers"][0]["image"] = client_image
        change(deployment)
        kubectl.apply(*objects)

    yield apply
    for each in objects:
        kubectl.delete(each["kind"], each["metadata"]["name"])
    for session in kubectl.list("sandboxsessions"):
        kubectl.delete("sandboxsession", session["metadata"]["name"])


def logs(kubectl: Kubectl) -> str:
    """Return the log of the agent's last run."""
    try:
        return kubectl("logs", "--selector=app=agent", "--tail=50")
    except RefusedError:
        return ""


def test_the_example_agent_creates_a_session_and_runs_code_in_it(kubectl: Kubectl, deploy: Deploy):
    deploy(lambda _deployment: None)
    text = poll(
        "the agent has a result", lambda: (found := logs(kubectl)) and "result: 45" in found and found, timeout=90
    )
    assert "session: sandbox-" in text


def test_an_agent_without_the_label_is_told_so_within_seconds(kubectl: Kubectl, deploy: Deploy):
    deploy(lambda deployment: deployment["spec"]["template"]["metadata"]["labels"].pop("sandboxsessions.dev/client"))
    text = poll(
        "the agent has failed", lambda: (found := logs(kubectl)) and "SandboxUnavailable" in found and found, timeout=90
    )
    assert "did not answer within 5 s" in text
    assert "with the label sandboxsessions.dev/client=true" in text
