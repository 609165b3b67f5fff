"""Measures the operator at scale: 100 fake nodes, a warm pool, timed arrivals, 5,000 idle sessions, and a restart.

    python -m benchmarks.cluster [--quick] [--only arrivals|growth|storage|node] [--output FILE]

Needs etcd, kube-apiserver, kube-scheduler and kube-controller-manager (of the test cluster, or on PATH) and kwok
(`go install sigs.k8s.io/kwok/cmd/kwok@v0.8.0`); storage needs minio and rclone
(`go install github.com/rclone/rclone@v1.73.5`). Everything shares this machine's processors, including the load
generator.

Only the group `node` has real pods. It starts the test cluster's node, which needs root and one `make cluster` before.
If that is not possible, the group is left out.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks.cluster import arrivals, growth, node, real_node, storage
from benchmarks.cluster.control_plane import REPOSITORY, open_control_plane
from benchmarks.cluster.operating import Operator, prepare, start_agents
from benchmarks.cluster.report import Report, show

if TYPE_CHECKING:
    from collections.abc import Callable

_ON_FAKE_CLUSTER: Final = {"arrivals": arrivals.measure, "growth": growth.measure}
_STANDALONE: Final = {"storage": storage.measure, "node": node.measure}
GROUPS: Final = (*_ON_FAKE_CLUSTER, *_STANDALONE)
RESULTS: Final = REPOSITORY / "benchmarks/results/cluster.json"


def main() -> int:
    """Run the groups one after the other. Return 1 if a group failed, or was requested with --only and cannot run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="use small numbers, to check that it works; writes no file"
    )
    parser.add_argument("--only", action="append", choices=GROUPS, help="run only this group; may be repeated")
    parser.add_argument("--output", type=Path, help=f"default: {RESULTS.relative_to(REPOSITORY)}")
    parsed = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    report = Report(parsed.output or (None if parsed.quick else RESULTS))
    failed = []
    missing = real_node.find_missing()
    for name in parsed.only or GROUPS:
        if name == "node" and missing:
            print(f"== node is left out and its rows stay unchanged: {missing}", flush=True)
            failed += [name] if parsed.only else []
            continue
        report.begin(name)
        try:
            if name in _STANDALONE:
                _STANDALONE[name](report, is_quick=parsed.quick)
            else:
                _run_on_fake_cluster(_ON_FAKE_CLUSTER[name], report, is_quick=parsed.quick)
        except Exception:  # noqa: BLE001 - the other groups still run
            traceback.print_exc()
            failed.append(name)
    show(report)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


def _run_on_fake_cluster(measure: Callable[..., None], report: Report, *, is_quick: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="sandbox-bench-") as folder, contextlib.ExitStack() as stack:
        plane = stack.enter_context(open_control_plane(Path(folder), 100))
        stack.callback(_keep_logs, Path(folder))
        prepare(plane)
        operator = Operator(plane)
        operator.start()
        start_agents(plane)
        measure(plane, operator, report, is_quick=is_quick)


def _keep_logs(folder: Path) -> None:
    for name in ("operator", "agents"):
        log = folder / f"{name}.log"
        if log.exists():
            Path(tempfile.gettempdir(), f"sandbox-bench-{name}.log").write_bytes(log.read_bytes())


if __name__ == "__main__":
    sys.exit(main())
