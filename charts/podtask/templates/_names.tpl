{{- define "podtask.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- /* The release's name, with the chart's where it does not say it already. 40, so that suffixes fit. */}}
{{- define "podtask.fullname" -}}
{{- $name := include "podtask.name" . }}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) }}
{{- default $full .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- /* Names of what is cluster-wide: two releases in two namespaces must not share them. */}}
{{- define "podtask.clusterName" -}}
{{- $full := include "podtask.fullname" . }}
{{- eq $full .Chart.Name | ternary $full (printf "%s-%s" $full .Release.Namespace) | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "podtask.selectorLabels" -}}
app.kubernetes.io/name: {{ include "podtask.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: controller
{{- end }}

{{- define "podtask.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "podtask.selectorLabels" . }}
app.kubernetes.io/part-of: podtask
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "podtask.serviceAccountName" -}}
{{- $made := include "podtask.fullname" . }}
{{- .Values.serviceAccount.create | ternary (default $made .Values.serviceAccount.name) (default "default" .Values.serviceAccount.name) }}
{{- end }}

{{- /* Call with (dict "root" . "image" .Values.image). */}}
{{- define "podtask.image" -}}
{{- with .root.Values.imageRegistry }}{{ trimSuffix "/" . }}/{{ end }}{{ .image.repository }}
{{- if .image.digest }}@{{ .image.digest }}{{ else }}:{{ default .root.Chart.AppVersion .image.tag }}{{ end }}
{{- end }}

{{- /* Restricted Pod Security, and a root that cannot be written to. */}}
{{- define "podtask.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- /* Not empty where the policies for Pods are part of the release. */}}
{{- define "podtask.guardsPods" -}}
{{- $wanted := toString .Values.podAdmission.enabled }}
{{- $isKnown := semverCompare ">=1.30.0-0" .Capabilities.KubeVersion.Version }}
{{- if and (eq $wanted "true") (not $isKnown) }}
{{- fail "podAdmission.enabled is true, and this server has no ValidatingAdmissionPolicy (Kubernetes 1.30); set auto or false" }}
{{- end }}
{{- $hasRights := or (not .Values.watchNamespace) .Values.crds.enabled }}
{{- or (eq $wanted "true") (and (eq $wanted "auto") $isKnown $hasRights) | ternary "yes" "" }}
{{- end }}

{{- /* As a JSON list. */}}
{{- define "podtask.closedNamespaces" -}}
{{- $closed := list }}
{{- range .Values.podAdmission.closedNamespaces }}
{{- $closed = append $closed (tpl . $) }}
{{- end }}
{{- without $closed .Values.watchNamespace | uniq | toJson }}
{{- end }}
