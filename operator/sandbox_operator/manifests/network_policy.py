"""The NetworkPolicy for the sessions of one template with one egress. Pure.

It exists before the first pod that it selects, so no pod ever runs without it. The template's narrowest policy also
selects its blank pods. A claim with that egress changes no policy, so the start need not wait for the network.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any, Final

from sandbox_operator.api import naming
from sandbox_operator.api.session_spec import Egress
from sandbox_operator.errors import SpecError

if TYPE_CHECKING:
    from sandbox_operator.api.models import Template
    from sandbox_operator.api.template_spec import EgressRule
    from sandbox_operator.settings import Settings

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

FORBIDDEN: Final = tuple(
    ipaddress.ip_network(cidr)
    for cidr in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "168.63.129.16/32",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::1/128",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "2001::/32",
        "2002::/16",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    )
)
"""Metadata services, the cluster, private networks, multicast, and IPv6 addresses that stand for IPv4 ones. No template
can allow them. The operator's settings add further ones, and allow the addresses of the storage endpoint instead."""
_DNS_PORTS: Final = [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]


def build_network_policy(template: Template, egress: Egress, settings: Settings) -> dict[str, Any]:
    """Build the policy.

    Raises:
        SpecError: The template's allowlist contains addresses that are never allowed.
    """
    selector = {
        naming.MANAGED_BY: naming.MANAGER,
        naming.TEMPLATE: template.metadata.name,
        naming.EGRESS: egress.value.lower(),
    }
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": naming.policy_name(template.metadata.name, egress),
            "namespace": template.metadata.namespace,
            "labels": {naming.MANAGED_BY: naming.MANAGER, naming.TEMPLATE: template.metadata.name},
        },
        "spec": {
            "podSelector": {"matchLabels": selector},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": _build_ingress(template, settings),
            "egress": _build_egress(template, egress, settings),
        },
    }


def _build_ingress(template: Template, settings: Settings) -> list[dict[str, Any]]:
    clients = [{"podSelector": {"matchLabels": {naming.CLIENT: "true"}}}, *template.spec.ingress_from]
    return [
        {"from": clients, "ports": [_port(naming.GRPC_PORT)]},
        {"from": [_operator(settings)], "ports": [_port(naming.GRPC_PORT), _port(naming.CONTROL_PORT)]},
    ]


def _operator(settings: Settings) -> dict[str, Any]:
    return {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": settings.namespace}},
        "podSelector": {"matchLabels": dict(settings.pod_labels)},
    }


def _build_egress(template: Template, egress: Egress, settings: Settings) -> list[dict[str, Any]]:
    rules = _build_base_egress(settings, needs_dns=egress is not Egress.NONE)
    if egress is Egress.PUBLIC:
        rules.append({"to": [_block("0.0.0.0/0", settings), _block("::/0", settings)]})
    if egress is Egress.ALLOWLIST:
        rules += [_build_allowed(index, rule, settings) for index, rule in enumerate(template.spec.egress.allow)]
    return rules


def _build_base_egress(settings: Settings, *, needs_dns: bool) -> list[dict[str, Any]]:
    """Allow what every pod may reach: the storage, the trace collector if there is one, and DNS if needed."""
    rules: list[dict[str, Any]] = []
    if settings.storage_cidrs:
        blocks = [_block(cidr, settings) for cidr in settings.storage_cidrs]
        rules.append({"to": blocks, "ports": [_port(settings.storage_port)]})
    if settings.tracing_endpoint and settings.tracing_cidrs:
        blocks = [_block(cidr, settings) for cidr in settings.tracing_cidrs]
        rules.append({"to": blocks, "ports": [_port(settings.tracing_port)]})
    if needs_dns or settings.agents_need_dns:
        dns = {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
            "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
        }
        rules.append({"to": [dns], "ports": _DNS_PORTS})
    return rules


def _build_allowed(index: int, rule: EgressRule, settings: Settings) -> dict[str, Any]:
    field = f"spec.egress.allow.{index}.cidr"
    try:
        network = ipaddress.ip_network(rule.cidr)
    except ValueError as error:
        raise SpecError(field, str(error)) from error
    if isinstance(network, ipaddress.IPv6Network) and network.network_address.ipv4_mapped:
        raise SpecError(field, f"{rule.cidr}: write IPv4 addresses in IPv4 notation")
    if any(_is_within(network, forbidden) for forbidden in _forbidden(settings)):
        raise SpecError(field, f"{rule.cidr} is private, link-local or inside the cluster, which is never allowed")
    ports = [{"protocol": "TCP", **port} for port in rule.ports]
    return {"to": [_block(rule.cidr, settings)], **({"ports": ports} if ports else {})}


def _block(cidr: str, settings: Settings) -> dict[str, Any]:
    """Allow a range without the forbidden ones inside it. A storage endpoint may itself be a private address."""
    network = ipaddress.ip_network(cidr)
    inside = [str(each) for each in _forbidden(settings) if each != network and _is_within(each, network)]
    return {"ipBlock": {"cidr": cidr, **({"except": inside} if inside else {})}}


def _forbidden(settings: Settings) -> tuple[Network, ...]:
    return (*FORBIDDEN, *map(ipaddress.ip_network, settings.never_reachable))


def _is_within(inner: Network, outer: Network) -> bool:
    return inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]


def _port(port: int) -> dict[str, Any]:
    return {"protocol": "TCP", "port": port}
