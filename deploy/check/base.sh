#!/bin/sh
# Images that builds and the compose stack start from, made here where none can be pulled.
#
#   deploy/check/base.sh [IMAGE...]     default: the base of our own images
#
# An image that the engine has stays; else it is pulled; else it is built from Debian's packages
# by standins/<last part of its name>/Dockerfile, under the name it was asked for and with the
# label churn.local-base=true. Stand-ins keep the upstream images' names, ports, variables and
# commands as far as docker-compose.yaml uses them, so that nothing else has to change.
# Exit 3 with a SKIP line: an image has no stand-in.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
debian=debian:bookworm-slim
status=0

say() { echo "$*" >&2; }

present() { docker image inspect "$1" >/dev/null 2>&1; }

# One failed pull is enough to know: each costs up to half a minute.
pulls() {
    [ -z "${no_pulls:-}" ] || return 1
    timeout 30 docker pull --quiet "$1" >/dev/null 2>&1 && return 0
    no_pulls=1
    say "no image can be pulled: making stand-ins"
    return 1
}

# The machine's own CA bundle comes along: builds may have to pass its proxy.
import_debian() {
    scratch=$(mktemp -d)
    PATH=$PATH:/usr/sbin mmdebstrap --quiet --variant=apt --include=ca-certificates \
        --hook-dir=/usr/share/mmdebstrap/hooks/maybe-merged-usr \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' \
        --customize-hook='copy-in /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs' \
        bookworm "$scratch/debian.tar" >"$scratch/log" 2>&1 || { cat "$scratch/log" >&2; exit 1; }
    docker import --change 'LABEL churn.local-base=true' --change 'CMD ["bash"]' \
        "$scratch/debian.tar" "$debian" >/dev/null
    rm -r "$scratch"
}

secrets=$(mktemp -d)
trap 'rm -rf "$secrets"' EXIT
"$here/../pip_conf.sh" >"$secrets/pip.conf"
[ $# -gt 0 ] || set -- python:3.11-slim-bookworm
for image in "$@"; do
    present "$image" && continue
    pulls "$image" && continue
    name=${image##*/}
    name=${name%%[:@]*}
    if [ ! -e "$here/standins/$name/Dockerfile" ]; then
        say "SKIP $image: cannot be pulled and has no stand-in"
        status=3
        continue
    fi
    present "$debian" || import_debian
    say "building a stand-in for $image"
    DOCKER_BUILDKIT=1 docker build --quiet --tag "$image" --file "$here/standins/$name/Dockerfile" \
        --secret "id=pip_conf,src=$secrets/pip.conf" "$here/../.." >/dev/null
done
exit $status
