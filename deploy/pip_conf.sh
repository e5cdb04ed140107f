#!/bin/sh
# Print this machine's package indexes as a pip.conf: a secret for builds, which no layer holds.
# Paths of this machine mean nothing inside a build: web addresses only.
set -eu
pip_setting() {
    variable=PIP_$(echo "$1" | tr a-z- A-Z_)
    value=$(printenv "$variable" || python3 -m pip config get "global.$1" 2>/dev/null) || return 0
    webs=$(echo "$value" | tr ' ' '\n' | grep -E "$2" | tr '\n' ' ') || true
    [ -z "$webs" ] || echo "$1 = $webs"
}
echo "[global]"
pip_setting index-url '^https?://'
pip_setting extra-index-url '^https?://'
pip_setting trusted-host .
