{{/* Refuses values that a schema cannot explain. templates/deployment.yaml includes it. */}}
{{- define "sandbox.check" -}}
{{- range $value, $cidrs := dict "storage.cidrs" (.Values.storage.cidrs | default list) "tracing.cidrs" (.Values.tracing.cidrs | default list) -}}
{{- range $cidrs -}}
{{- $length := int (splitList "/" . | last) -}}
{{- $shortest := ternary 16 8 (contains ":" .) -}}
{{- if lt $length $shortest -}}
{{- fail (printf "%s: %s would open nearly every address to every session, in each egress mode. Name the addresses of the endpoint, with a prefix of at least /%d" $value . $shortest) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .Values.storage.bucket (eq (include "sandbox.storageCredentials" .) "static") (ne (len .Values.watchNamespaces) 1) (not .Values.storage.allowSharedCredentials) -}}
{{- fail "storage.credentials: without per-session credentials every agent holds the operator's own keys, and whoever may exec into pods of one namespace can read all workspaces with them. Set storage.sts.roleArn, so that each session gets credentials for its own workspace (MinIO ignores the ARN: arn:minio:iam:::role/sandboxes); or serve one namespace with watchNamespaces; or accept the risk with storage.allowSharedCredentials=true" -}}
{{- end -}}
{{- end -}}

{{/* `sts` wherever a role is named, unless the values say otherwise. */}}
{{- define "sandbox.storageCredentials" -}}
{{- .Values.storage.credentials | default (ternary "sts" "static" (not (empty (.Values.storage.sts | default dict).roleArn))) -}}
{{- end -}}
