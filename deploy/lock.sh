#!/bin/sh
# Resolve every lock of the project: hashes for all platforms, no host, no CUDA.
#
#   requirements.lock                   development and the embedded platform
#   deploy/serving.lock                 the HTTP service's image
#   deploy/{worker,lambda,exporter,dagster}/requirements.lock   the other images
#   deploy/embedded/requirements.lock   the AWS emulator, which pins an older botocore
#   deploy/check/requirements.lock      the tools of `make check-deploy`
#   deploy/spark.lock                   development and Spark
#   deploy/bootstrap.lock               uv, which installs the others
#
# All but the emulator's and the tools' agree on versions. xgboost asks for nvidia-nccl-cu12
# (469 MB) that a CPU never uses: it is dropped, and the project's `gpu` extra brings it back.
# Images hold xgboost-cpu, the same release without 220 MB of GPU code.
set -eu
cd "$(dirname "$0")/.."
uv=${UV:-.venv/bin/uv}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
never="python_version < '3'"
echo "nvidia-nccl-cu12 ; $never" >"$scratch/no-gpu"
echo "xgboost ; $never" >"$scratch/no-xgboost"

compile() {
    "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-emit-find-links --no-header --override "$scratch/no-gpu" "$@"
}

# image LOCK OPTIONS...: for an image that trains or scores on CPUs
image() {
    lock=$1
    shift
    sed -n 's/^xgboost==\([^ ;]*\).*/xgboost-cpu==\1/p' requirements.lock >"$scratch/cpu.in"
    cpu=
    case " $* " in *" http "* | *" training "*) cpu=$scratch/cpu.in ;; esac
    # shellcheck disable=SC2086 # nothing when empty
    compile pyproject.toml $cpu "$@" --no-annotate --constraint requirements.lock \
        --override "$scratch/no-xgboost" --output-file "$lock"
}

compile pyproject.toml --extra dev --output-file requirements.lock
image deploy/serving.lock --extra http
image deploy/worker/requirements.lock
image deploy/lambda/requirements.lock --extra lambda
image deploy/exporter/requirements.lock --extra exporter
image deploy/dagster/requirements.lock --extra training --extra cluster
compile pyproject.toml --extra dev --extra spark --constraint requirements.lock \
    --output-file deploy/spark.lock
echo "uv" | compile - --constraint requirements.lock --output-file deploy/bootstrap.lock
echo "ministack>=1.5,<1.6" | compile - --output-file deploy/embedded/requirements.lock
compile deploy/check/requirements.in --output-file deploy/check/requirements.lock
