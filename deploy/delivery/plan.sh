#!/bin/sh
# What a run of the workflow `deploy` is to do, as its outputs: the target, stages of the tests
# (none named: all), whether images are made, the arguments of vm.sh and cluster.sh.
# Reads EVENT; BEFORE, the commit before a push; TARGET, VERSION, RUN_ID, ROLLBACK, what a person
# asked for; REGISTRY and USUAL_TARGET, where each may be unset: then nothing is pushed or deployed.
set -eu
cd "$(dirname "$0")/../.."

case ${TARGET:=usual} in usual) TARGET=${USUAL_TARGET:-} ;; *) ;; esac
stages='' images=false
if [ "$EVENT" = push ]; then
    run_id=$(sed -n 's/^RUN_ID=//p' .env.cloud)
    if [ "$(deploy/delivery/changed.sh "$BEFORE" HEAD)" = run_id ]; then
        stages='["unit"]' # of settings; no image anew: the version stays what is deployed
        arguments="deploy run_id=$run_id"
    else
        images=true
        arguments="deploy version=$(git rev-parse HEAD) run_id=$run_id"
    fi
elif [ "${ROLLBACK:-}" = true ]; then
    arguments=rollback
else
    case ${RUN_ID:=} in
    '') ;;
    champion) RUN_ID=run_id= ;;
    *) RUN_ID=run_id=$RUN_ID ;;
    esac
    arguments="deploy ${VERSION:+version=$VERSION }$RUN_ID"
fi
[ -n "${REGISTRY:-}" ] || images=false TARGET=''
case "$TARGET $arguments" in *[!A-Za-z0-9._=\ -]*)
    echo "plan.sh: letters, digits and . _ - only: $TARGET $arguments" >&2
    exit 64
    ;;
esac
printf '%s\n' "target=$TARGET" "stages=$stages" "images=$images" "arguments=$arguments"
