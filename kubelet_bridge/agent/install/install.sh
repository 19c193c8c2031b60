#!/bin/sh
# Installs the kubelet-bridge agent: needs a shell and Python 3.8 or later. Running it again is harmless.
set -eu

say() {
    echo "kubelet-bridge: $*"
    if [ -w /dev/console ]; then echo "kubelet-bridge: $*" >/dev/console 2>/dev/null || :; fi
}

SEED=/etc/kubelet-bridge/agent.json
STATE=/var/lib/kubelet-bridge

python=
for name in python3 python3.14 python3.13 python3.12 python3.11 python3.10 python3.9 python3.8; do
    found=$(command -v "$name" 2>/dev/null) || continue
    if "$found" -I -S -c 'import sys; sys.exit(sys.version_info < (3, 8))' 2>/dev/null; then
        python=$found
        break
    fi
done
if [ -z "$python" ]; then
    say "this image has no Python 3.8 or later, so no agent runs here; what the bridge can do without one still works"
    exit 1
fi
if ! missing=$("$python" -I -S -c 'import asyncio, ctypes, hashlib, http.client, json, ssl, zlib' 2>&1); then
    say "$python lacks a module of its standard library ($(echo "$missing" | tail -n 1)); install the whole of Python"
    exit 1
fi

umask 077
mkdir -p "$STATE/agent"
tries=0
until problem=$("$python" -I -S - "$SEED" "$STATE" 2>&1 <<'KUBELET_BRIDGE_FETCH'
@FETCH@
KUBELET_BRIDGE_FETCH
); do
    # The bridge may be away for as long as it likes: a guest without an agent would stay so until its next boot.
    tries=$((tries + 1))
    if [ $((tries % 60)) -eq 1 ]; then say "$problem; trying again and again"; fi
    if [ "$tries" -lt 60 ]; then sleep 5; else sleep 60; fi
done

put() { # FILE MODE: from standard input, with the Python that was found
    sed "s|/usr/bin/python3 |$python |; s|^command=/usr/bin/python3\$|command=$python|" >"$1.new"
    chmod "$2" "$1.new"
    mv "$1.new" "$1"
}

if [ -d /run/systemd/system ]; then
    put /etc/systemd/system/kubelet-bridge-agent.service 0644 <<'KUBELET_BRIDGE_UNIT'
@AGENT_SERVICE@
KUBELET_BRIDGE_UNIT
    put /etc/systemd/system/kubelet-bridge-workload.service 0644 <<'KUBELET_BRIDGE_UNIT'
@WORKLOAD_SERVICE@
KUBELET_BRIDGE_UNIT
    systemctl daemon-reload
    # cloud-init, which runs this, may itself be part of what these units wait for.
    systemctl enable --quiet kubelet-bridge-agent.service kubelet-bridge-workload.service
    systemctl start --no-block kubelet-bridge-agent.service kubelet-bridge-workload.service
elif command -v rc-update >/dev/null 2>&1; then
    put /etc/init.d/kubelet-bridge-agent 0755 <<'KUBELET_BRIDGE_UNIT'
@AGENT_OPENRC@
KUBELET_BRIDGE_UNIT
    put /etc/init.d/kubelet-bridge-workload 0755 <<'KUBELET_BRIDGE_UNIT'
@WORKLOAD_OPENRC@
KUBELET_BRIDGE_UNIT
    rc-update -q add kubelet-bridge-agent default
    rc-update -q add kubelet-bridge-workload default
    rc-service kubelet-bridge-agent start
    rc-service kubelet-bridge-workload start
else
    say "neither systemd nor OpenRC runs here: the agent is started for this boot only"
    "$python" -I -S "$STATE/agent/current.pyz" run >>/var/log/kubelet-bridge-agent.log 2>&1 </dev/null &
fi
