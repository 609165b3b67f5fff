"""Fields that no custom resource may have: rows 42 and 45 of the attacks, as paths below `spec` with a value."""

POD: dict[str, object] = {
    "hostNetwork": True,
    "hostPID": True,
    "hostIPC": True,
    "hostPath": "/",
    "volumes": [{"name": "v", "hostPath": {"path": "/"}}],
    "volumeMounts": [{"name": "v", "mountPath": "/host"}],
    "containers": [{"name": "evil", "image": "evil:1"}],
    "initContainers": [{"name": "evil", "image": "evil:1"}],
    "ephemeralContainers": [{"name": "evil", "image": "evil:1"}],
    "sidecars": [{"name": "evil", "image": "evil:1"}],
    "podTemplate": {"spec": {"hostNetwork": True}},
    "podSpec": {"hostNetwork": True},
    "securityContext": {"privileged": True},
    "privileged": True,
    "capabilities": {"add": ["SYS_ADMIN"]},
    "runAsUser": 0,
    "serviceAccountName": "default",
    "serviceAccount": "default",
    "automountServiceAccountToken": True,
    "shareProcessNamespace": True,
    "seccompProfile": {"type": "Unconfined"},
    "nodeName": "node",
    "schedulerName": "mine",
    "terminationGracePeriodSeconds": 10**9,
    "activeDeadlineSeconds": 10**9,
    "dnsConfig": {"nameservers": ["203.0.113.1"]},
    "hostAliases": [{"ip": "203.0.113.1", "hostnames": ["storage"]}],
    "resourceClaims": [{"name": "gpu"}],
    "command": ["sh"],
    "ports": [{"containerPort": 80}],
}
"""Of a pod. No kind has them."""
ADMINISTRATOR: dict[str, object] = {
    "image": "evil:1",
    "agentImage": "evil:1",
    "imagePullSecrets": [{"name": "s"}],
    "runtimeClassName": "runc",
    "hostUsers": True,
    "nodeSelector": {"disk": "ssd"},
    "affinity": {"nodeAffinity": {}},
    "tolerations": [{"operator": "Exists"}],
    "topologySpreadConstraints": [],
    "priorityClassName": "high",
    "podLabels": {"team": "evil"},
    "podAnnotations": {"team": "evil"},
    "mounts": [{"name": "m", "mountPath": "/m", "emptyDir": {"sizeLimit": "1Gi"}}],
    "ingressFrom": [{"podSelector": {}}],
    "languages": ["python"],
    "limits": {"processes": 10**6},
}
"""Of a template. A session does not have them."""
STORAGE: dict[str, object] = {
    "storage": {"endpoint": "http://203.0.113.1"},
    "bucket": "mine",
    "endpoint": "http://203.0.113.1",
    "credentials": {"accessKeyId": "x"},
    "roleArn": "arn:aws:iam::1:role/x",
    "workspace.bucket": "mine",
    "workspace.endpoint": "http://203.0.113.1",
    "workspace.keyPrefix": "other/",
    "workspace.prefix": "other/",
    "workspace.namespace": "other",
    "workspace.credentials": {"accessKeyId": "x"},
    "workspace.storageSecret": "mine",
}
"""Of a storage endpoint, wherever it may be."""


def build_spec(path: str, value: object) -> dict[str, object]:
    """Return a spec with a value at a path such as `workspace.bucket`."""
    for part in reversed(path.split(".")):
        value = {part: value}
    return value  # type: ignore[return-value]
