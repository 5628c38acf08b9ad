{{- define "fraudfed.name" -}}
{{- printf "%s-%s" .Release.Name "fraudfed" | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "fraudfed.labels" -}}
app.kubernetes.io/name: fraudfed
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* What selects pods: (list . "aggregator"). It may never change. */}}
{{- define "fraudfed.selector" -}}
{{- $top := index . 0 -}}
app.kubernetes.io/name: fraudfed
app.kubernetes.io/instance: {{ $top.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* A digest decides; a tag is for those who have not pinned yet: (list . "bank"). */}}
{{- define "fraudfed.image" -}}
{{- $image := index (index . 0).Values.images (index . 1) -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag }}
{{- end -}}
{{- end -}}

{{- define "fraudfed.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "fraudfed.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
privileged: false
capabilities:
  drop: [ALL]
{{- end -}}

{{/* What every pod of a bank has, but its containers: (list . "train"). */}}
{{- define "fraudfed.bankPod" -}}
{{- $top := index . 0 -}}
serviceAccountName: {{ include "fraudfed.name" $top }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext: {{- include "fraudfed.podSecurity" $top | nindent 2 }}
{{- with $top.Values.images.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $top.Values.bank.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $top.Values.bank.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $top.Values.bank.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* What a container of a bank node has, but command and resources. */}}
{{- define "fraudfed.bankContainer" -}}
image: {{ include "fraudfed.image" (list . "bank") }}
imagePullPolicy: {{ .Values.images.pullPolicy }}
securityContext: {{- include "fraudfed.containerSecurity" . | nindent 2 }}
env:
  - {name: HOME, value: /tmp}
{{- if .Values.bank.passphraseSecret }}
  - {name: BANK_NODE_PASSPHRASE_FILE, value: /passphrase/passphrase}
{{- end }}
{{- with .Values.bank.envFrom }}
envFrom: {{- toYaml . | nindent 2 }}
{{- end }}
volumeMounts:
  - {name: state, mountPath: /state}
  - {name: tmp, mountPath: /tmp}
{{- if .Values.bank.passphraseSecret }}
  - {name: passphrase, mountPath: /passphrase, readOnly: true}
{{- end }}
{{- if .Values.bank.dataClaim }}
  - {name: data, mountPath: /data, readOnly: true}
{{- end }}
{{- if .Values.bank.dask.enabled }}
  - {name: dask-tls, mountPath: /dask-tls, readOnly: true}
{{- end }}
{{- end -}}

{{- define "fraudfed.bankVolumes" -}}
- name: state
  persistentVolumeClaim: {claimName: {{ include "fraudfed.name" . }}-bank}
- name: tmp
  emptyDir: {sizeLimit: 2Gi}
{{- if .Values.bank.passphraseSecret }}
- name: passphrase
  secret: {secretName: {{ .Values.bank.passphraseSecret }}, defaultMode: 0440}
{{- end }}
{{- if .Values.bank.dataClaim }}
- name: data
  persistentVolumeClaim: {claimName: {{ .Values.bank.dataClaim }}, readOnly: true}
{{- end }}
{{- if .Values.bank.dask.enabled }}
- name: dask-tls
  secret: {secretName: {{ required "bank.dask.tlsSecret: rows travel to workers, so Dask needs TLS" .Values.bank.dask.tlsSecret }}, defaultMode: 0440}
{{- end }}
{{- end -}}

{{/* Options of "dask scheduler" and "dask worker" for TLS on both sides. */}}
{{- define "fraudfed.daskTls" -}}
- --tls-ca-file=/dask-tls/ca.crt
- --tls-cert=/dask-tls/tls.crt
- --tls-key=/dask-tls/tls.key
{{- end -}}

{{/* A pod may ask names of anybody. */}}
{{- define "fraudfed.dns" -}}
- ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
{{- end -}}
