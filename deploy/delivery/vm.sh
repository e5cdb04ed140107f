#!/bin/sh
# Deploys on the machine it runs on, beside its compose stack:
#   vm.sh deploy [version=V] [run_id=R]   what is left out stays; run_id= (empty) follows the champion
#   vm.sh rollback                        back to what was deployed before
#   vm.sh status                          version and run id that are deployed
# A deployment that does not answer as meant is taken back; the exit status is then 1, and 2 when
# what was there before does not answer either.
#
# CHURN_DEPLOY (~/churn) holds releases/VERSION, the files of each version; settings.env, what only
# this machine knows (its secrets too); deployed and before, one line each: version=V run_id=R.
set -eu

patience=${CHURN_PATIENCE:-300}
mkdir -p "${CHURN_DEPLOY:=$HOME/churn}/releases"
cd "$CHURN_DEPLOY"
root=$PWD

say() { printf '%s vm.sh: %s\n' "$(date -u +%H:%M:%S)" "$*" >&2; }

fail() {
    say "$2"
    exit "$1"
}

# compose ARGUMENT...: docker compose as $version and $run_id have it.
compose() (
    cd "releases/$version"
    export CHURN_VERSION="$version" RUN_ID="$run_id"
    exec docker compose --project-name churn --env-file .env.cloud --env-file "$root/settings.env" "$@"
)

# verify ARGUMENT...: prints the run that is served, or fails.
verify() (
    set -a
    # shellcheck source=/dev/null
    . "$root/settings.env"
    set +a
    export CHURN_API_KEY="${CHURN_API_KEYS:-}"
    export CHURN_API_KEY="${CHURN_API_KEY%%,*}"
    cd "releases/$version"
    exec python3 -m deploy.delivery.verify --token-env CHURN_API_KEY \
        --url "${CHURN_URL:-http://127.0.0.1:${HTTP_PORT:-9696}}" "$@"
)

# start SERVICE...: these, or all of the stack, as $version and $run_id have them.
start() {
    say "starting version $version with ${run_id:-the champion of the registry}"
    compose up --detach --wait --wait-timeout "$patience" "$@" >&2
}

# read_state FILE: version and run_id as that file has them.
read_state() {
    version='' run_id=''
    if [ -f "$1" ]; then
        read -r version run_id <"$1"
        version=${version#version=} run_id=${run_id#run_id=}
    fi
}

write_state() { # in one step: a reader sees the old line or the new one
    printf 'version=%s run_id=%s\n' "$version" "$run_id" >"$1.new"
    mv "$1.new" "$1"
}

package() {
    say "packaging run $run_id"
    compose run --rm --no-deps code \
        dagster job execute -m churn_assets.definitions -j release >&2
}

# bring_up NEW_VERSION NEW_RUN_ID: those, or again what is deployed.
bring_up() {
    read_state deployed
    old_version=$version old_run_id=$run_id
    served=''
    if [ -n "$old_version" ]; then
        served=$(verify --deadline 5 2>/dev/null) || say 'what is deployed does not answer'
    fi
    version=$1 run_id=$2

    services=''
    [ "$version" = "$old_version" ] && services='http worker' # the predecessor's two restarts
    set --
    if [ -n "$run_id" ]; then
        set -- --expect-run-id "$run_id"
    elif [ -n "$served" ] && [ -z "$old_run_id" ]; then
        set -- --expect-run-id "$served" # only code changes: the model must not
    fi

    # shellcheck disable=SC2086 # two words, or none
    if { [ -z "$run_id" ] || package; } && start $services && now=$(verify --deadline "$patience" "$@"); then
        write_state deployed
        if [ -n "$old_version" ] && [ "$old_version $old_run_id" != "$version $run_id" ]; then
            version=$old_version run_id=$old_run_id
            write_state before
        fi
        say "deployed: run $now answers (before: ${served:-none})"
        return
    fi

    [ -n "$old_version" ] || fail 1 'the first deployment failed: there is nothing to go back to'
    say 'FAILED: going back to what was deployed'
    version=$old_version run_id=$old_run_id
    # shellcheck disable=SC2086
    if ! start $services || ! verify --deadline "$patience" ${served:+--expect-run-id "$served"} >/dev/null; then
        fail 2 'FAILED TWICE: what was deployed before does not answer either'
    fi
    fail 1 "FAILED: version $version with ${run_id:-the champion} is back"
}

command=${1:-}
shift || true
exec 9>lock
flock --nonblock 9 || fail 1 'another deployment is under way'
case $command in
deploy)
    read_state deployed
    for argument; do
        case $argument in
        version=*) version=${argument#version=} ;;
        run_id=*) run_id=${argument#run_id=} ;;
        *) fail 64 "unknown: $argument" ;;
        esac
    done
    case "$version$run_id" in *[!A-Za-z0-9._-]*) fail 64 'version and run id are letters, digits, . _ -' ;; esac
    [ -f "releases/${version:-none}/docker-compose.yaml" ] || fail 64 "releases/$version holds no files"
    [ -f settings.env ] || fail 64 "$root/settings.env is missing"
    bring_up "$version" "$run_id"
    ;;
rollback)
    read_state before
    [ -n "$version" ] || fail 64 'nothing was deployed before'
    bring_up "$version" "$run_id"
    ;;
status) cat deployed ;;
*) fail 64 'deploy [version=V] [run_id=R] | rollback | status' ;;
esac
