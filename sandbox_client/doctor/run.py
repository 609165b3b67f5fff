"""Runs all checks in order. A check that another one makes useless is left out."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sandbox_client.doctor.api import open_api
from sandbox_client.doctor.cluster_checks import (
    check_clock,
    check_definitions,
    check_namespace,
    check_operator,
    check_permissions,
    check_server,
    check_template,
    check_versions,
)
from sandbox_client.doctor.findings import Finding, Level, failed, skipped
from sandbox_client.doctor.network import check_policies
from sandbox_client.doctor.probe_session import ProbeSession
from sandbox_client.doctor.stored_objects import check_stored_objects
from sandbox_client.errors import SandboxError, SandboxUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox_client.cluster.api import ClusterOptions
    from sandbox_client.doctor.api import KubeHttp


@dataclass(frozen=True, slots=True)
class Plan:
    """The choice of what to check.

    Attributes:
        template: Name of the SandboxTemplate.
        operator_namespace: The operator's namespace; None to look in all.
        may_create: Whether to create a session and two pods. Without them, only what exists is read.
        timeout: Seconds within which a session must be Ready.
    """

    template: str = "default"
    operator_namespace: str | None = None
    may_create: bool = True
    timeout: float = 120.0


async def examine(options: ClusterOptions, plan: Plan, on_step: Callable[[str], object]) -> list[Finding]:
    """Run all checks. Never raises SandboxError: what fails is a finding.

    Args:
        options: The cluster and the namespace of the sessions.
        plan: What to check.
        on_step: Called with the name of each step before it begins.
    """
    findings: list[Finding] = []
    on_step("the API server")
    try:
        api = await asyncio.to_thread(open_api, options)
        findings.append(await check_server(api))
        if findings[0].level is Level.FAILED:
            return findings
        await _examine(api, plan, on_step, findings)
    except SandboxUnavailable as error:
        advice = "Name a kubeconfig and a context that work with kubectl: --kubeconfig, --context, or KUBECONFIG."
        findings.append(failed("cluster", str(error), advice))
    except SandboxError as error:
        findings.append(
            failed("cluster", str(error), "Run the doctor again with a kubeconfig that works with kubectl.")
        )
    return findings


async def _examine(api: KubeHttp, plan: Plan, on_step: Callable[[str], object], findings: list[Finding]) -> None:
    findings.append(await check_clock(api))
    on_step("the chart")
    definitions = await check_definitions(api)
    findings.append(definitions)
    operator, version = await check_operator(api, plan.operator_namespace)
    findings.append(operator)
    if definitions.level is Level.FAILED:
        return
    findings.append(await check_versions(api, version))
    on_step("the stored objects")
    findings.append(await check_stored_objects(api))
    on_step("the namespace")
    if missing := await check_namespace(api):
        findings.append(missing)
        return
    findings.append(await check_permissions(api))
    findings += await check_template(api, plan.template)
    if not plan.may_create:
        findings.append(skipped("session", "no session was created, and so neither network nor storage were checked"))
        return
    if any(finding.level is Level.FAILED for finding in findings if finding.check in {"template", "operator"}):
        findings.append(skipped("session", "without the above, no session can start"))
        return
    session = ProbeSession(api, plan.template)
    async with session.opened(findings) as was_created:
        if not was_created:
            return
        on_step(f"the session {session.name}")
        found = await session.wait(plan.timeout)
        findings += found
        if any(finding.level is Level.FAILED for finding in found):
            return
        on_step("a cell, storage and the network")
        used, policies = await asyncio.gather(session.use(), check_policies(api, session))
        findings += [*used, policies]
