#!/bin/sh
# Deploys on the machine it runs on, with docker compose:
#   vm.sh deploy [version=V] [run_id=R]   what is left out stays; run_id= (empty) follows the champion
#   vm.sh rollback                        back to what was deployed before
#   vm.sh status                          version and run id that are deployed
# A deployment that does not answer as meant is taken back; the exit status is then 1, and 2 when
# what was there before does not answer either.
#
# CHURN_DEPLOY (~/churn) holds releases/VERSION, the files of each version; settings.env, what only
# this machine knows, its secrets too; .env, random passwords of the servers that run here (Compose
# asks for them whether those run or not); deployed and before, one line each: version=V run_id=R.
set -eu
# shellcheck source=deploy/delivery/steps.sh
. "$(dirname "$0")/steps.sh"

: "${CHURN_DEPLOY:=$HOME/churn}" "${CHURN_PATIENCE:=300}"
mkdir -p "$CHURN_DEPLOY/releases"
cd "$CHURN_DEPLOY"

# compose ARGUMENT...: docker compose as $version and $run_id have it.
compose() (
    "releases/$version/deploy/compose/secrets.sh"
    cd "releases/$version" || exit
    sed -i "s/^RUN_ID=.*/RUN_ID=$run_id/" ".env.$CHURN_ENV"
    CHURN_VERSION=$version exec docker compose --env-file ".env.$CHURN_ENV" --env-file ../../.env "$@" </dev/null
)

verify() (
    cd "releases/$version" || exit
    CHURN_API_KEY=${CHURN_API_KEYS%%,*} exec python3 -m deploy.delivery.verify \
        --url "http://127.0.0.1:${HTTP_PORT:-9696}" --token-env CHURN_API_KEY "$@"
)

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

start() { # all: what COMPOSE_PROFILES names
    services=''
    [ "$1" = all ] || services='http worker'
    say "starting version $version with ${run_id:-the champion of the registry}"
    # shellcheck disable=SC2086 # two words, or none
    compose up --detach --no-build --wait --wait-timeout "$CHURN_PATIENCE" $services >&2
}

package() {
    say "packaging run $run_id"
    compose run --rm --no-deps -T dagster-code dagster job execute -m churn_assets.definitions -j release >&2
}

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

has_version() { [ -f "releases/$version/docker-compose.yaml" ]; }

[ -f settings.env ] || fail 64 "$CHURN_DEPLOY/settings.env is missing"
set -a
# shellcheck source=/dev/null
. ./settings.env
set +a
: "${CHURN_ENV:=cloud}" "${CHURN_API_KEYS:=}"
export CHURN_ENV

exec 9>lock
flock --nonblock 9 || fail 1 'another deployment is under way'
run_command "$@"
