#!/bin/sh
# Prints the Secrets that a file like secrets.example.env holds, as YAML for `kubectl apply`.
set -eu
[ $# -eq 1 ] || { echo "usage: $0 FILE" >&2; exit 2; }

# A JSON string is a YAML string too, whatever is in the value.
awk '
    /^\[/ {
        name = $1
        gsub(/[][]/, "", name)
        printf "---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: %s\nstringData:\n", name
        next
    }
    /^[A-Za-z_]+=/ {
        key = $0
        sub(/=.*/, "", key)
        value = substr($0, length(key) + 2)
        gsub(/[\\"]/, "\\\\&", value)
        printf "  %s: \"%s\"\n", key, value
    }
' "$1"
