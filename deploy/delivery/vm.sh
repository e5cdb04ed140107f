#!/bin/sh
# Deploys on the machine it runs on, with docker compose:
#   vm.sh deploy [version=V] [run_id=R]   what is left out stays; run_id= (empty) follows the champion
#   vm.sh rollback                        back to what was deployed before
#   vm.sh status                          version and run id that are deployed
# A deployment that does not answer as meant is taken back; the exit status is then 1, and 2 when
# what was there before does not answer either.
#
# CHURN_DEPLOY (~/churn) holds releases/VERSION, the files of each version; settings.env, what only
# this machine knows, its secrets too; deployed and before, one line each: version=V run_id=R.
set -eu

: "${CHURN_DEPLOY:=$HOME/churn}" "${CHURN_PATIENCE:=300}"
mkdir -p "$CHURN_DEPLOY/releases"
cd "$CHURN_DEPLOY"

say() { printf '%s vm.sh: %s\n' "$(date -u +%H:%M:%S)" "$*" >&2; }

fail() {
    say "$2"
    exit "$1"
}

# compose ARGUMENT...: docker compose as $version and $run_id have it.
compose() (
    cd "releases/$version" || exit
    sed -i "s/^RUN_ID=.*/RUN_ID=$run_id/" ".env.$CHURN_ENV"
    CHURN_VERSION=$version exec docker compose --env-file ".env.$CHURN_ENV" "$@" </dev/null
)

# verify ARGUMENT...: prints the run that is served, or fails.
verify() (
    cd "releases/$version" || exit
    CHURN_API_KEY=${CHURN_API_KEYS%%,*} exec python3 -m deploy.delivery.verify \
        --url "http://127.0.0.1:${HTTP_PORT:-9696}" --token-env CHURN_API_KEY "$@"
)

# worker_serves RUN: whether the worker does too, within $CHURN_PATIENCE seconds.
worker_serves() {
    ask='import urllib.request as u; print(u.urlopen("http://127.0.0.1:9697/readyz", timeout=5).read().decode())'
    waited=0
    while true; do
        found=$(compose exec -T worker python -c "$ask" 2>&1) || true
        case $found in *"\"model_run_id\":\"$1\""*) return 0 ;; *) ;; esac
        [ "$waited" -lt "$CHURN_PATIENCE" ] || break
        waited=$((waited + 2))
        sleep 2
    done
    say "the worker does not serve run $1: $found"
    return 1
}

# start SERVICE...: these, or all that COMPOSE_PROFILES names.
start() {
    say "starting version $version with ${run_id:-the champion of the registry}"
    compose up --detach --no-build --wait --wait-timeout "$CHURN_PATIENCE" "$@" >&2
}

# package: the run's model into the store of champions; does nothing where it is packaged.
package() {
    say "packaging run $run_id"
    compose run --rm --no-deps -T dagster-code dagster job execute -m churn_assets.definitions -j release >&2
}

read_state() { # FILE: $version and $run_id as it has them
    version='' run_id=''
    if [ -f "$1" ]; then
        read -r version run_id <"$1"
        version=${version#version=} run_id=${run_id#run_id=}
    fi
}

write_state() { # FILE, in one step: a reader sees the old line or the new one
    printf 'version=%s run_id=%s\n' "$version" "$run_id" >"$1.new"
    mv "$1.new" "$1"
}

# bring_up VERSION RUN_ID: those, answering as meant, or again what is deployed.
bring_up() {
    read_state deployed
    old_version=$version old_run_id=$run_id served=''
    if [ -n "$old_version" ]; then
        served=$(verify --deadline 5 2>/dev/null) || say 'what is deployed does not answer'
    fi
    version=$1 run_id=$2

    services=''
    [ "$version" != "$old_version" ] || services='http worker' # the predecessor's two restarts
    set --
    if [ -n "$run_id" ]; then
        set -- --expect-run-id "$run_id"
    elif [ -n "$served" ] && [ -z "$old_run_id" ]; then
        set -- --expect-run-id "$served" # only code changes: the model must not
    fi

    # shellcheck disable=SC2086 # two words, or none
    if { [ -z "$run_id" ] || package; } && start $services &&
        now=$(verify --deadline "$CHURN_PATIENCE" "$@") && worker_serves "$now"; then
        write_state deployed
        if [ -n "$old_version" ] && [ "$old_version $old_run_id" != "$version $run_id" ]; then
            version=$old_version run_id=$old_run_id
            write_state before
        fi
        say "deployed: run $now answers (before: ${served:-none})"
        return
    fi

    [ -n "$old_version" ] || fail 1 'FAILED: the first deployment; there is nothing to go back to'
    say 'FAILED: going back to what was deployed'
    version=$old_version run_id=$old_run_id
    # shellcheck disable=SC2086
    if ! start $services ||
        ! verify --deadline "$CHURN_PATIENCE" ${served:+--expect-run-id "$served"} >/dev/null; then
        fail 2 'FAILED TWICE: what was deployed before does not answer either'
    fi
    fail 1 "FAILED: version $version with ${run_id:-the champion} is back"
}

command=${1:-}
[ $# -eq 0 ] || shift
[ -f settings.env ] || fail 64 "$CHURN_DEPLOY/settings.env is missing"
set -a
# shellcheck source=/dev/null
. ./settings.env
set +a
: "${CHURN_ENV:=cloud}" "${CHURN_API_KEYS:=}"
export CHURN_ENV

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
    case $version$run_id in *[!A-Za-z0-9._-]* | *..*) fail 64 'letters, digits and . _ - only' ;; *) ;; esac
    [ -f "releases/${version:-none}/docker-compose.yaml" ] || fail 64 "releases/$version holds no files"
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
