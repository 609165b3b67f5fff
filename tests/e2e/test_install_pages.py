"""Every kubectl and helm line of the install pages, as a dry run. What the other programs do, only a cloud can show."""

import os
import re
import subprocess

import pytest

from tests.e2e.support.kubectl import Kubectl
from tests.e2e.support.platform import Platform
from tests.support.install_pages import PAGES, ROOT, commands

LINES = sorted(
    {tuple(words) for page in PAGES for words in commands(page) if words[0] in {"kubectl", "helm"}},
)
# What a command says if all is well with it, and the object that it names does not exist in the tests' cluster.
ABSENT = re.compile(r"not ?found|no matching resources|no resources found", re.IGNORECASE)


def dry(words: tuple[str, ...], folder: str) -> tuple[str, ...]:
    """Return the command as one that changes nothing."""
    program, *rest = words
    if program == "helm":
        verb = next(word for word in rest if not word.startswith("-"))
        if verb in {"install", "upgrade"}:
            # Another release than the tests' own. Its objects have no owner in the cluster yet.
            name = rest.index("sandbox-operator")
            rest[name] = "dry-run-sandbox-operator"
            rest = [word.replace("ca.pem", f"{folder}/ca.pem") for word in rest if word != "--reset-then-reuse-values"]
            if "--install" not in rest and verb == "upgrade":
                rest += ["--install", "--set", "images.registry=localhost"]
            return (program, *rest, "--dry-run=server", "--skip-crds")
        if verb == "uninstall":
            return (program, *rest, "--dry-run")
        return (program, *rest, "--help")
    verb = next(
        word for index, word in enumerate(rest) if not word.startswith("-") and rest[index - 1] != "--namespace"
    )
    if verb in {"apply", "create", "delete"}:
        # The namespaces of the manifests need not exist, so the server is only asked for the kinds.
        return (program, *rest, "--dry-run=client")
    return (program, *rest, *(("--timeout=1s",) if verb == "wait" else ()))


@pytest.mark.parametrize("words", LINES, ids=lambda words: " ".join(words)[:100])
def test_a_line_of_an_install_page_is_accepted(platform: Platform, kubectl: Kubectl, tmp_path, words):
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n")
    manifest = (ROOT / "examples/install/minio.yaml").read_text() if words[-1] == "-" else None
    done = subprocess.run(
        dry(words, str(tmp_path)),
        cwd=ROOT,
        env={**os.environ, "KUBECONFIG": platform.kubeconfig},
        input=manifest,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0 or ABSENT.search(done.stderr), done.stdout[-500:] + done.stderr
