#!/bin/sh
# Deploys to a Kubernetes cluster, from a clone that holds the version's commit:
#   cluster.sh deploy [version=V] [run_id=R] | rollback | status    (as vm.sh)
# CHURN_REGISTRY: where the images are, ends in /; CHURN_OVERLAY: cloud; CHURN_API_KEY: a key of
# the HTTP service, where it asks for one. kubectl's own configuration says which cluster.
set -eu
# shellcheck source=deploy/delivery/steps.sh
. "$(dirname "$0")/steps.sh"

: "${CHURN_REGISTRY:?where the images are}" "${CHURN_OVERLAY:=cloud}" "${CHURN_PATIENCE:=600}"
cd "$(dirname "$0")/../.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

kube() { kubectl --namespace churn "$@"; }

# The objects of $version with its images and $run_id.
objects() {
    rm -rf "$scratch/files" && mkdir "$scratch/files" &&
        git archive "$version" deploy | tar -x -C "$scratch/files" || return 1
    settings=$scratch/files/deploy/k8s/overlays/$CHURN_OVERLAY/settings.env
    sed -i '/^RUN_ID=/d' "$settings" && echo "RUN_ID=$run_id" >>"$settings"
    kubectl kustomize --load-restrictor LoadRestrictionsNone "${settings%/*}" |
        sed -E "s#[^ \"=]*churn-(dagster|worker|exporter|http):[^ \"]+#${CHURN_REGISTRY}churn-\1:$version#"
}

start() { # a changed setting rolls the pods that read it, so "servers" needs no other way than "all"
    say "applying version $version with ${run_id:-the champion of the registry} ($1)"
    objects >"$scratch/objects.yaml" && kube apply -f "$scratch/objects.yaml" >&2 || return 1
    kube rollout status deployment/dagster-code --timeout "${CHURN_PATIENCE}s" >&2 || return 1
    if [ -n "$run_id" ]; then # new pods wait for it, old ones answer
        kube exec deployment/dagster-code -- env RUN_ID="$run_id" \
            dagster job execute -m churn_assets.definitions -j release >&2 || return 1
    fi
    kube rollout status statefulset/http --timeout "${CHURN_PATIENCE}s" >&2 &&
        kube rollout status statefulset/worker --timeout "${CHURN_PATIENCE}s" >&2
}

package() { :; } # start does it, when the code that packages is there

verify() {
    kube port-forward service/http 19696:9696 >&2 &
    forward=$!
    result=0
    CHURN_API_KEY=${CHURN_API_KEY:-} python3 -m deploy.delivery.verify \
        --url http://127.0.0.1:19696 --token-env CHURN_API_KEY "$@" || result=1
    kill "$forward" 2>/dev/null || true
    return "$result"
}

worker_serves() {
    ask='import urllib.request as u; print(u.urlopen("http://127.0.0.1:9697/readyz", timeout=5).read().decode())'
    found=$(kube exec statefulset/worker -- python -c "$ask" 2>&1) || true
    case $found in *"\"model_run_id\":\"$1\""*) return 0 ;; *) ;; esac
    say "the worker does not serve run $1: $found"
    return 1
}

read_state() { # a ConfigMap remembers
    version='' run_id=''
    state=$(kube get configmap deployment --ignore-not-found --output "jsonpath={.data.$1}")
    if [ -n "$state" ]; then
        version=${state%% *} run_id=${state#* }
        version=${version#version=} run_id=${run_id#run_id=}
    fi
}

write_state() {
    kube get configmap deployment >/dev/null 2>&1 || kube create configmap deployment >&2
    kube patch configmap deployment --patch "{\"data\": {\"$1\": \"version=$version run_id=$run_id\"}}" >&2
}

has_version() { git rev-parse --quiet --verify "$version^{commit}" >/dev/null; }

run_command "$@"
