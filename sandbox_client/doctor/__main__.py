"""`python -m sandbox_client.doctor`, for `helm test`: the doctor without click, in a pod with the operator's image."""

from __future__ import annotations

import argparse
import asyncio
import sys

from sandbox_client.cluster.api import ClusterOptions
from sandbox_client.doctor.findings import format_table, has_failed
from sandbox_client.doctor.run import Plan, examine


def main() -> int:
    """Check the cluster, print the findings, and return 1 if a check failed."""
    parser = argparse.ArgumentParser(prog="python -m sandbox_client.doctor", description=__doc__)
    parser.add_argument("--namespace", help="namespace of the sessions; default: the pod's")
    parser.add_argument("--template", default="default", help="name of the SandboxTemplate")
    parser.add_argument("--operator-namespace", help="namespace of the operator; default: look in all")
    given = parser.parse_args()
    plan = Plan(given.template, given.operator_namespace)
    findings = asyncio.run(examine(ClusterOptions(given.namespace), plan, lambda _step: None))
    sys.stdout.write(f"{format_table(findings)}\n")
    return int(has_failed(findings))


if __name__ == "__main__":
    sys.exit(main())
