"""`sandbox doctor`: checks the cluster and says what to change."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from sandbox_client.cli.options import with_target

if TYPE_CHECKING:
    from sandbox_client.cli.options import Target


@click.command(
    epilog="""\b
Examples:
  sandbox doctor
  sandbox doctor -n team-a --template data-science
  sandbox doctor --read-only --output json

\b
Exit codes:
  0  no check failed (warnings do not count)
  1  a check failed

The doctor creates a session and two small pods, and deletes them. It reports checks that your permissions do not allow
as skipped."""
)
@click.option("--template", default="default", show_default=True, help="Name of the SandboxTemplate to check.")
@click.option("--operator-namespace", help="Namespace of the operator. Default: look in all namespaces.")
@click.option("--read-only", is_flag=True, help="Create nothing. Network policies and storage are then not checked.")
@click.option("--timeout", default=120.0, show_default=True, help="Seconds within which a session must be Ready.")
@with_target
def doctor(
    target: Target,
    template: str,
    operator_namespace: str | None,
    read_only: bool,  # noqa: FBT001 - click passes it by name
    timeout: float,
) -> int:
    """Check the cluster, the chart, the network, storage and your permissions.

    Each finding says what to change.
    """
    from sandbox_client.doctor.findings import format_table, has_failed, to_json  # noqa: PLC0415 - slow to import
    from sandbox_client.doctor.run import Plan, examine  # noqa: PLC0415 - same

    plan = Plan(template, operator_namespace, may_create=not read_only, timeout=timeout)
    with target.printer.spinner("Checking") as step:
        findings = asyncio.run(examine(target.cluster, plan, lambda what: step(f"Checking {what}")))
    target.printer.print(to_json(findings), format_table(findings))
    return int(has_failed(findings))
