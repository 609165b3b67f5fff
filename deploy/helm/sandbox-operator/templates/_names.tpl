{{- define "sandbox.name" -}}
{{- if contains .Chart.Name .Release.Name -}}{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else -}}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" }}{{- end -}}
{{- end -}}

{{- define "sandbox.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "sandbox.labels" -}}
{{ include "sandbox.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "sandbox.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "sandbox.name" .) }}
{{- end -}}

{{- define "sandbox.storageSecret" -}}
{{ .Values.storage.existingSecret | default (printf "%s-storage" (include "sandbox.name" .)) }}
{{- end -}}

{{/* Empty if the operator has no credentials of its own. With sts, its service account may suffice. */}}
{{- define "sandbox.hasStorageSecret" -}}
{{- if and .Values.storage.bucket (or .Values.storage.existingSecret .Values.storage.accessKeyId) }}yes{{ end -}}
{{- end -}}

{{/* sandbox.image (list image chart) */}}
{{- define "sandbox.image" -}}
{{- $image := index . 0 -}}{{- $chart := index . 1 -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default $chart.AppVersion }}
{{- end -}}
{{- end -}}
