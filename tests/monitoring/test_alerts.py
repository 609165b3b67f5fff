"""The chart's alerts and dashboard in a real Prometheus: make test-alerts, which builds it and promtool."""

import asyncio
import contextlib
import json
import os
import re
import socket
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
import yaml

from sandbox_client import Sandbox
from sandbox_client.local import session as local
from sandbox_operator.kube.resources import POOLS, TEMPLATES
from tests.support.running_operator import RunningOperator
from tests.support.waiting import until
from tests.unit.operator.conftest import NAMESPACE

MONITORING = Path(__file__).parents[2] / "deploy/helm/sandbox-operator/monitoring"
ALERTS, CASES = MONITORING / "alerts.yaml", Path(__file__).with_name("alerts.test.yaml")
BIN = Path(os.environ.get("SANDBOX_E2E_HOME", "/var/lib/sandbox-e2e")) / "bin"
RULES = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
PANELS = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
QUERIES = [target["expr"].replace("$__rate_interval", "10s") for panel in PANELS for target in panel["targets"]]
QUERIES += [rule["expr"] for rule in RULES]
AGENTS = {f"sandbox_workspace_{name}" for name in ("saved_bytes_total", "lag_seconds", "pushes_total")}


def promtool(*arguments):
    done = subprocess.run([BIN / "promtool", *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return done.stdout


def test_prometheus_takes_the_rules():
    assert f"SUCCESS: {len(RULES)} rules found" in promtool("check", "rules", "--lint=all", "--lint-fatal", str(ALERTS))


def test_alerts_fire_after_their_time_and_are_silent_over_healthy_series():
    assert "SUCCESS" in promtool("test", "rules", str(CASES))


@pytest.mark.parametrize("alert", [rule["alert"] for rule in RULES])
def test_every_alert_is_tried_with_series_that_make_it_fire_and_with_healthy_ones(alert):
    tried = [
        [bool(one.get("exp_alerts")) for one in case["alert_rule_test"] if one["alertname"] == alert]
        for case in yaml.safe_load(CASES.read_text())["tests"]
    ]
    # It is looked at before its time is over, too; and there is a case in which it never fires.
    assert any(case[0] is False and case[-1] is True for case in tried if case)
    assert any(not any(case) for case in tried if case)


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class Prometheus:
    """A server that scrapes each second, with the labels that a ServiceMonitor's targets have."""

    def __init__(self, folder, targets):
        self._url, self._folder = f"127.0.0.1:{free_port()}", folder
        self._configuration = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(ALERTS)],
            "scrape_configs": [
                {
                    "job_name": name,
                    "honor_labels": True,
                    "static_configs": [{"targets": [address], "labels": {"namespace": "of-the-target", "pod": name}}],
                }
                for name, address in targets.items()
            ],
        }

    @contextlib.contextmanager
    def running(self):
        file, log = self._folder / "prometheus.yaml", self._folder / "prometheus.log"
        file.write_text(yaml.safe_dump(self._configuration))
        options = [f"--config.file={file}", f"--storage.tsdb.path={self._folder / 'data'}"]
        with log.open("w") as output:
            process = subprocess.Popen(
                [BIN / "prometheus", *options, f"--web.listen-address={self._url}"],
                stdout=output,
                stderr=output,
                cwd=self._folder,
            )
            try:
                yield self
            except BaseException:
                print(log.read_text()[-4000:])  # noqa: T201 - of a failure, for people
                raise
            finally:
                process.terminate()
                process.wait(10)

    def ask(self, path, **parameters):
        """The answer of its API; a failure unless it is one without a warning."""
        url = f"http://{self._url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            told = json.load(answer)
        assert (told["status"], told.get("warnings"), told.get("infos")) == ("success", None, None), (parameters, told)
        return told["data"]

    def query(self, expression):
        return self.ask("query", query=expression)["result"]

    def wait_for_scrapes(self):
        """Until each target was scraped twice and every rule was evaluated."""

        def scraped():
            with contextlib.suppress(OSError):
                counts = self.query("min(count_over_time(up[1m]))")
                rules = self.ask("rules")["groups"]
                return (
                    counts and int(counts[0]["value"][1]) >= 3 and all(each["lastEvaluation"] > "1" for each in rules)
                )
            return False

        until(scraped, 40)


@pytest.fixture
def agent(tmp_path):
    """Where the agent of a local session answers Prometheus; the session saves on change, and has saved."""
    ports, wait_ports = {}, local._wait_ports

    async def remember(*arguments):
        ports.update(await wait_ports(*arguments))
        return ports

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "_wait_ports", remember)
        sandbox = Sandbox.local(store=tmp_path / "store", sync="on_change")
    with sandbox:
        sandbox.files.write("saved.txt", "saved")
        yield f"127.0.0.1:{ports['health_port']}"


async def exercise(operator):
    """A warm start, a cold one, and one that is suspended, so that there is something to tell of each."""
    spec = {"templateRef": {"name": "default"}, "replicas": 1}
    body = {"apiVersion": POOLS.api_version, "kind": POOLS.kind, "metadata": {"name": "pool"}, "spec": spec}
    operator.kube.put(POOLS, NAMESPACE, body)
    is_filled = lambda: operator.kube.named(POOLS)["pool"].get("status", {}).get("readyReplicas")  # noqa: E731
    await operator.until(is_filled)
    operator.add_session("warm")
    await operator.until(lambda: operator.phase("warm") == "Ready")
    operator.kube.put(TEMPLATES, NAMESPACE, {"metadata": {"name": "unpooled"}, "spec": {"image": "sandbox:1"}})
    operator.add_session("cold", templateRef={"name": "unpooled"})
    await operator.until(lambda: operator.phase("cold") == "Ready")
    operator.change_session("cold", suspended=True)
    await operator.until(lambda: operator.phase("cold") == "Suspended")


async def test_every_query_of_dashboard_and_alerts_is_answered_from_what_is_scraped(agent, tmp_path, monkeypatch):
    operator = RunningOperator(tmp_path, metrics_port=(port := free_port()))
    server = Prometheus(tmp_path, {"operator": f"127.0.0.1:{port}", "agent": agent})
    async with operator.running(monkeypatch):
        await exercise(operator)
        with server.running():
            await asyncio.to_thread(look_at_everything, server)


def look_at_everything(server):
    server.wait_for_scrapes()
    assert {each["metric"]["job"]: each["value"][1] for each in server.query("up")} == {"operator": "1", "agent": "1"}
    names = {name for query in QUERIES for name in re.findall(r"sandbox_\w+", query)}
    assert [name for name in sorted(names | AGENTS) if not server.query(f"count({name})")] == []
    for query in QUERIES:
        server.query(query)
    (warm,) = server.query("max by (namespace, template) (sandbox_operator_warm_pods)")
    assert warm["metric"] == {"namespace": NAMESPACE, "template": "default"}
    rules = [rule for group in server.ask("rules")["groups"] for rule in group["rules"]]
    assert [(rule["name"], rule["health"], rule.get("lastError", "")) for rule in rules] == [
        (rule["alert"], "ok", "") for rule in RULES
    ]
    assert server.ask("alerts")["alerts"] == []
