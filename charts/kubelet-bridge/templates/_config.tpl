{{/* The settings file of the daemon. What it calls its settings is in docs/settings.md. */}}
{{- define "kubelet-bridge.config" -}}
{{- $own := dict
  "node_name" .Values.node.name
  "node_labels" .Values.node.labels
  "node_annotations" .Values.node.annotations
  "taint_key" (ternary .Values.node.taint.key "" .Values.node.taint.enable)
  "taint_value" .Values.node.taint.value
  "taint_effect" .Values.node.taint.effect
  "architecture" .Values.node.architecture
  "capacity_cpu" .Values.node.capacity.cpu
  "capacity_memory" .Values.node.capacity.memory
  "capacity_storage" .Values.node.capacity.storage
  "capacity_pods" (int .Values.node.capacity.pods)
  "log_level" .Values.bridge.logLevel
  "log_format" .Values.bridge.logType
  "workers" (int .Values.bridge.podSyncWorkers)
  "listen" (printf "%s:%d" .Values.bridge.listenAddress (int .Values.bridge.port))
  "admin_listen" (printf "%s:%d" .Values.bridge.listenAddress (int .Values.bridge.adminPort))
  "guest_listen" (ternary (printf "%s:%d" .Values.bridge.listenAddress (int .Values.guests.port)) "" .Values.guests.enabled)
  "guest_files_listen" (ternary (printf "%s:%d" .Values.bridge.listenAddress (int .Values.guests.filesPort)) "" .Values.guests.enabled)
  "guest_address" (default (printf "%s:%d" (include "kubelet-bridge.host" .) (int .Values.guests.port)) .Values.guests.address)
  "guest_files_address" (default (printf "%s:%d" (include "kubelet-bridge.host" .) (int .Values.guests.filesPort)) .Values.guests.filesAddress)
  "guest_transport" .Values.guests.transport
  "namespace" .Release.Namespace
  "state_dir" (include "kubelet-bridge.stateDir" .)
  "runtime_image" .Values.runtime.image
  "images_config_map" (ternary (printf "%s-images" (include "kubelet-bridge.fullname" .)) "" (not (empty .Values.images.catalogue)))
  "images_namespace" .Values.images.namespace
  "images_storage_class" .Values.images.storageClass
  "images_ready_made_in" (join "," .Values.images.readyMadeIn)
  "request_certificate" .Values.tls.request
}}
{{- if include "kubelet-bridge.approves" . }}
{{- $_ := set $own "approve_certificate" true }}
{{- end }}
{{- if include "kubelet-bridge.tolerates" . }}
{{- $_ := set $own "tolerate_outages" true }}
{{- end }}
{{- if .Values.tls.secretName }}
{{- $_ := set $own "tls_cert_file" "/etc/kubelet-bridge-tls/tls.crt" }}
{{- $_ := set $own "tls_key_file" "/etc/kubelet-bridge-tls/tls.key" }}
{{- end }}
{{- if .Values.runtime.registriesConf }}
{{- $_ := set $own "registries_file" "/etc/kubelet-bridge/registries.conf" }}
{{- end }}
{{- range $name, $_ := .Values.bridge.settings }}
{{- if hasKey $own $name }}
{{- fail (printf "bridge.settings.%s has a value of its own in this chart: see values.yaml" $name) }}
{{- end }}
{{- end }}
{{- toYaml (merge $own .Values.bridge.settings) }}
{{- end }}
