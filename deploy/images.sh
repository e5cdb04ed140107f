#!/bin/sh
# Build the images; needs an engine and the base image (deploy/check/engine.sh, base.sh).
#
#   deploy/images.sh [NAME...]    dagster worker exporter lambda emulator http; default: all
#
# CHURN_REGISTRY (empty or with a slash at its end) and CHURN_VERSION make the names,
# BASE_IMAGE replaces the base. An index of the user's own, from pip's settings, is a secret
# of the build: no layer holds it.
set -eu
cd "$(dirname "$0")/.."
version=${CHURN_VERSION:-latest}
revision=${GIT_COMMIT:-$(git rev-parse HEAD 2>/dev/null || true)}
base=${BASE_IMAGE:-python:3.11-slim-bookworm}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export DOCKER_BUILDKIT=1

deploy/pip_conf.sh >"$scratch/pip.conf"

build() {
    docker build --file "deploy/$1/Dockerfile" --tag "$2" --secret "id=pip_conf,src=$scratch/pip.conf" \
        --build-arg "BASE_IMAGE=$base" --build-arg "VERSION=$version" --build-arg "REVISION=$revision" .
}

# A Bento without a model follows CHAMPION_URI; its store is a scratch one. BentoML up to 1.4.39
# finds a Dockerfile's template only below the working directory (its issue 5566): hence `cd`.
containerize() {
    bentoml=$PWD/.venv/bin/bentoml
    export BENTOML_HOME="$scratch/bentoml" TMPDIR="$scratch" BENTOML_DO_NOT_TRACK=True
    "$bentoml" build --output tag --version build >/dev/null
    (cd "$scratch" && "$bentoml" containerize churn:build --image-tag "$1" --backend docker \
        --secret "id=pip_conf,src=$scratch/pip.conf" --build-arg "BASE_IMAGE=$base" \
        --build-arg "VERSION=$version" --build-arg "REVISION=$revision")
    docker image inspect "$1" >/dev/null
}

[ $# -gt 0 ] || set -- dagster worker exporter lambda emulator http
for name in "$@"; do
    image=${CHURN_REGISTRY:-}churn-$name:$version
    echo "building $image"
    if [ "$name" = http ]; then containerize "$image"; else build "$name" "$image"; fi
done
