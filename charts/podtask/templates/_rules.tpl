{{- /* What the controller does, and nothing more: tests/chart compares it with the API server's audit log. */}}
{{- define "podtask.controllerRules" -}}
- apiGroups: [podtask.dev]
  resources: [podtasks]
  verbs: [get, list, watch, delete]
- apiGroups: [podtask.dev]
  resources: [podtasks/status]
  verbs: [patch]
# Unused, but required by clusters that protect owner references with blockOwnerDeletion (OpenShift).
- apiGroups: [podtask.dev]
  resources: [podtasks/finalizers]
  verbs: [update]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
# The kubelet reports why a Pod cannot start only in the Pod's Events.
- apiGroups: [""]
  resources: [events]
  verbs: [list]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end }}

{{- define "podtask.airflowRules" -}}
- apiGroups: [podtask.dev]
  resources: [podtasks]
  verbs: [create, get, list, watch, patch, delete]
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
{{- end }}

{{- define "podtask.releaseRules" -}}
- apiGroups: [""]
  resources: [pods]
  verbs: [list, patch]
{{- end }}
