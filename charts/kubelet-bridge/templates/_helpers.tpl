{{- define "kubelet-bridge.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "kubelet-bridge.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains (include "kubelet-bridge.name" .) .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "kubelet-bridge.name" .) | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* Of an object that has no namespace: releases of the same name in two namespaces must not meet. */}}
{{- define "kubelet-bridge.clustername" -}}
{{- printf "%s.%s" (include "kubelet-bridge.fullname" .) .Release.Namespace }}
{{- end }}

{{- define "kubelet-bridge.selector" -}}
app.kubernetes.io/name: {{ include "kubelet-bridge.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "kubelet-bridge.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "kubelet-bridge.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* Without the selector's: the Service must not take a test for a bridge. */}}
{{- define "kubelet-bridge.testLabels" -}}
app.kubernetes.io/name: {{ include "kubelet-bridge.name" . }}-test
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "kubelet-bridge.account" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "kubelet-bridge.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.name is needed when none is created" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "kubelet-bridge.user" -}}
{{- printf "system:serviceaccount:%s:%s" .Release.Namespace (include "kubelet-bridge.account" .) }}
{{- end }}

{{- define "kubelet-bridge.subjects" -}}
- kind: ServiceAccount
  name: {{ include "kubelet-bridge.account" . }}
  namespace: {{ .Release.Namespace }}
{{- end }}

{{- define "kubelet-bridge.image" -}}
{{- if .Values.image.digest }}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else }}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end }}
{{- end }}

{{- define "kubelet-bridge.pullSecrets" -}}
{{- with .Values.image.pullSecrets -}}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{/* The Service's name as guests resolve it, which have search domains only when their Pod does. */}}
{{- define "kubelet-bridge.host" -}}
{{- printf "%s.%s.svc.%s" (include "kubelet-bridge.fullname" .) .Release.Namespace .Values.clusterDomain }}
{{- end }}

{{/* The group's version in which a policy of this kind is served; empty where it is not. */}}
{{- define "kubelet-bridge.served" -}}
{{- range list "v1" "v1beta1" }}
{{- if $.context.Capabilities.APIVersions.Has (printf "admissionregistration.k8s.io/%s/%s" . $.kind) }}{{ . }} {{ end }}
{{- end }}
{{- end }}

{{- define "kubelet-bridge.mutatingVersion" -}}
{{- $served := include "kubelet-bridge.served" (dict "context" . "kind" "MutatingAdmissionPolicy") | splitList " " | compact }}
{{- if eq .Values.outageTolerations.by "policy" }}
{{- first (append $served "v1") }}
{{- else if eq .Values.outageTolerations.by "auto" }}
{{- if $served }}{{ first $served }}{{ end }}
{{- end }}
{{- end }}

{{/* "true" where the bridge itself has to make Pods tolerate its absence. */}}
{{- define "kubelet-bridge.tolerates" -}}
{{- if eq .Values.outageTolerations.by "bridge" }}true
{{- else if and (eq .Values.outageTolerations.by "auto") (not (include "kubelet-bridge.mutatingVersion" .)) }}true
{{- end }}
{{- end }}

{{- define "kubelet-bridge.approves" -}}
{{- if and .Values.tls.request (not .Values.tls.secretName) (eq .Values.tls.approval "automatic") }}true{{ end }}
{{- end }}

{{/* In the volume: its root belongs to root, and some classes let everybody write there. What is in here is the bridge's alone. */}}
{{- define "kubelet-bridge.stateDir" -}}
/var/lib/kubelet-bridge/state
{{- end }}

{{/* What the restricted Pod Security Standard asks of a Pod, and of a container. */}}
{{- define "kubelet-bridge.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "kubelet-bridge.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* The bridge must not land on a virtual node, its own the first of them: that would need it to run. */}}
{{- define "kubelet-bridge.affinity" -}}
{{- $virtual := dict "key" "kubelet-bridge.io/virtual-node" "operator" "DoesNotExist" }}
{{- $affinity := deepCopy .Values.affinity }}
{{- $required := dig "nodeAffinity" "requiredDuringSchedulingIgnoredDuringExecution" "nodeSelectorTerms" (list (dict)) $affinity }}
{{- $terms := list }}
{{- range $required }}
{{- $terms = append $terms (merge (dict "matchExpressions" (append (default list .matchExpressions) $virtual)) .) }}
{{- end }}
{{- $node := dig "nodeAffinity" dict $affinity }}
{{- $_ := set $node "requiredDuringSchedulingIgnoredDuringExecution" (dict "nodeSelectorTerms" $terms) }}
{{- $_ := set $affinity "nodeAffinity" $node }}
{{- toYaml $affinity }}
{{- end }}
