{{- define "distributary.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What the API and its objects are named. */}}
{{- define "distributary.api" -}}
{{- printf "%s-api" (include "distributary.fullname" .) -}}
{{- end -}}

{{/* The Secret with the certificate of the API; empty: the operator makes it. */}}
{{- define "distributary.apiSecret" -}}
{{- if .Values.api.tls.secretName -}}
{{- .Values.api.tls.secretName -}}
{{- else if .Values.api.tls.issuerRef -}}
{{- printf "%s-tls" (include "distributary.api" .) -}}
{{- end -}}
{{- end -}}

{{- define "distributary.serviceAccount" -}}
{{- if .Values.serviceAccount.name -}}
{{- .Values.serviceAccount.name -}}
{{- else if .Values.serviceAccount.create -}}
{{- include "distributary.fullname" . -}}
{{- else -}}
default
{{- end -}}
{{- end -}}

{{- define "distributary.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository ($image.tag | default .Chart.AppVersion) -}}
{{- end -}}
{{- end -}}

{{- define "distributary.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "distributary.labels" -}}
{{ include "distributary.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "distributary.subjects" -}}
- kind: ServiceAccount
  name: {{ include "distributary.serviceAccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}

{{/* What the operator does, and nothing else. The Secrets are in roles of their own where they are named. */}}
{{- define "distributary.rules" -}}
- apiGroups: [distributary.dev]
  resources: [replicasetpolicies]
  verbs: [get, list, watch]
- apiGroups: [distributary.dev]
  resources: [replicasetpolicies/status]
  verbs: [update]
- apiGroups: [""]
  resources: [services, configmaps]
  verbs: [get, list, watch, create, update, delete]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [get, list, watch, create, update, delete]
# OpenShift asks for it where an EndpointSlice has addresses of its own.
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices/restricted]
  verbs: [create]
{{- if eq .Values.secrets.access "ClusterWide" }}
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch]
{{- end }}
{{- if not .Values.watchNamespaces }}
# Which addresses are ClusterIPs, and so no servers.
- apiGroups: [networking.k8s.io]
  resources: [servicecidrs]
  verbs: [list, watch]
{{- end }}
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}
