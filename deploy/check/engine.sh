#!/bin/sh
# A container engine for checks and builds where none runs: Debian's, beside nothing else.
#
#   eval "$(deploy/check/engine.sh start)"   use the engine that answers, else install and start one
#   deploy/check/engine.sh status            where the engine is
#   deploy/check/engine.sh stop              end the engine that `start` started, with its containers
#   deploy/check/engine.sh clean             stop it and delete its images, volumes and caches
#
# Only `export` lines go to stdout. Exit 3, with a line that starts with SKIP, means that this
# machine cannot have an engine. Everything lives under CHURN_ENGINE_HOME.
set -eu
home=${CHURN_ENGINE_HOME:-/var/lib/churn-engine}
run=/run/churn-engine
socket=$run/docker.sock
pid_file=$run/docker.pid
plugins=$home/cli/cli-plugins
PATH=$PATH:/usr/sbin:/sbin

say() { echo "$*" >&2; }

skip() {
    say "SKIP container engine: $*"
    exit 3
}

answers() { docker info >/dev/null 2>&1; }

on_debian_as_root() { [ "$(id -u)" = 0 ] && [ -e /etc/debian_version ] && command -v apt-get >/dev/null; }

install_programs() {
    missing=
    command -v dockerd >/dev/null || missing="$missing docker.io"
    command -v docker >/dev/null || missing="$missing docker.io"
    command -v iptables >/dev/null || missing="$missing iptables"
    command -v mmdebstrap >/dev/null || missing="$missing mmdebstrap"
    [ -n "$missing" ] || return 0
    say "installing$missing"
    apt-get update -qq >&2 || say "apt-get update failed: trying with the lists at hand"
    # shellcheck disable=SC2086 # a list of packages
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing >&2 ||
        skip "Debian's packages$missing cannot be installed"
}

# Debian 12 packages neither Compose 2 nor buildx: take both from the next release's packages,
# unpacked into a folder of our own, so that the system's own release stays as it is.
install_plugins() {
    if DOCKER_CONFIG=$home/cli docker compose version >/dev/null 2>&1 &&
        DOCKER_CONFIG=$home/cli docker buildx version >/dev/null 2>&1; then
        return 0
    fi
    # shellcheck disable=SC2016 # apt fills in its own $(REPO_URI)
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' | head -1)
    scratch=$(mktemp -d)
    say "unpacking Compose and buildx of the next Debian release"
    mkdir -p "$scratch/lists/partial" "$scratch/cache/archives/partial" "$plugins"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${mirror:-http://deb.debian.org/debian} trixie main" \
        >"$scratch/sources.list"
    (
        cd "$scratch"
        set -- -qq -o "Dir::Etc::SourceList=$scratch/sources.list" -o Dir::Etc::SourceParts=/dev/null \
            -o "Dir::State::Lists=$scratch/lists" -o "Dir::Cache=$scratch/cache" -o APT::Sandbox::User=root
        apt-get "$@" update >&2 && apt-get "$@" download docker-compose docker-buildx >&2
    ) || { rm -rf "$scratch"; skip "Compose and buildx cannot be downloaded"; }
    for package in "$scratch"/*.deb; do
        dpkg-deb --extract "$package" "$scratch/root"
    done
    find "$scratch/root" -type f -path '*cli-plugins/docker-*' -exec cp {} "$plugins/" \;
    rm -rf "$scratch"
    DOCKER_CONFIG=$home/cli docker compose version >/dev/null || skip "Compose does not run here"
}

ours_runs() { [ -s "$pid_file" ] && kill -0 "$(cat "$pid_file")" 2>/dev/null; }

start_daemon() {
    mkdir -p "$home/data" "$run"
    say "starting dockerd, data in $home/data"
    setsid dockerd --data-root "$home/data" --exec-root "$run/exec" --pidfile "$pid_file" \
        --host "unix://$socket" >"$home/dockerd.log" 2>&1 </dev/null &
    tries=0
    until DOCKER_HOST=unix://$socket answers; do
        tries=$((tries + 1))
        [ $tries -lt 60 ] || { tail -5 "$home/dockerd.log" >&2; stop; skip "dockerd does not start"; }
        sleep 1
    done
}

start() {
    # An engine of the user's own, which brings its own Compose
    if answers && docker compose version >/dev/null 2>&1 && ! ours_runs; then
        [ -z "${DOCKER_HOST:-}" ] || echo "export DOCKER_HOST=$DOCKER_HOST"
        return
    fi
    on_debian_as_root || skip "no engine answers, and only root on Debian can start one"
    install_programs
    install_plugins
    DOCKER_HOST=unix://$socket answers || start_daemon
    echo "export DOCKER_HOST=unix://$socket"
    echo "export DOCKER_CONFIG=$home/cli"
}

stop() {
    ours_runs || return 0
    pid=$(cat "$pid_file")
    kill "$pid"
    tries=0
    while kill -0 "$pid" 2>/dev/null && [ $tries -lt 60 ]; do
        tries=$((tries + 1))
        sleep 1
    done
    ! kill -0 "$pid" 2>/dev/null || { say "dockerd ($pid) does not end"; return 1; }
}

case ${1:-} in
start) start ;;
stop) stop ;;
status)
    if ours_runs; then
        echo "ours: unix://$socket, data in $home/data"
    elif answers; then
        echo "the user's: ${DOCKER_HOST:-default socket}"
    else
        echo "no engine answers"
        exit 1
    fi
    ;;
clean)
    stop
    awk -v run="$run/" 'index($2, run) == 1 {print $2}' /proc/mounts | xargs -r -n 1 umount
    rm -rf "$home/data" "$run"
    ;;
*)
    say "usage: $0 start|stop|status|clean"
    exit 2
    ;;
esac
