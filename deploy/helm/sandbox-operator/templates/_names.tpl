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

{{/* sandbox.image (list image root): a repository without a slash is a name below images.registry. */}}
{{- define "sandbox.image" -}}
{{- $image := index . 0 -}}{{- $root := index . 1 -}}
{{- $registry := trimSuffix "/" ($root.Values.images.registry | default "") -}}
{{- $version := printf ":%s" ($image.tag | default $root.Chart.AppVersion) -}}
{{- if $image.digest }}{{ $version = printf "@%s" $image.digest }}{{ end -}}
{{- if contains "/" $image.repository -}}{{ $image.repository }}{{ $version }}
{{- else if $registry -}}{{ $registry }}/{{ $image.repository }}{{ $version }}
{{- else -}}
{{- fail "images.registry is not set: set it to the registry that has the three images, or to localhost if they were loaded into the nodes (no public registry has them; docs/install/images.md says how to build them)" -}}
{{- end -}}
{{- end -}}

{{/* Labels of hooks. Not the operator's selector, which its Service and NetworkPolicy use. */}}
{{- define "sandbox.hookLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}-hook
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* The parts of a hook's pod that are as in the operator's: where it runs, and how it is confined. */}}
{{- define "sandbox.hookPod" -}}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10000
  runAsGroup: 10000
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* The parts of a hook's container that are the same in all. */}}
{{- define "sandbox.hookContainer" -}}
image: {{ include "sandbox.image" (list .Values.images.operator .) }}
imagePullPolicy: {{ .Values.images.operator.pullPolicy | default "IfNotPresent" }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
resources:
  requests: {cpu: 50m, memory: 96Mi}
  limits: {memory: 512Mi}
{{- end -}}
