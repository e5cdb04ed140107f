#!/bin/sh
# Resolve every lock of the project: hashes for all platforms, no host, no CUDA.
#
#   requirements.lock                   everything, for development and the embedded platform
#   deploy/serving.lock                 what bento/ and stream_worker/ import, same versions
#   deploy/embedded/requirements.lock   the AWS emulator, which pins an older botocore
#   deploy/bootstrap.lock               uv, which installs the others
#
# xgboost asks for nvidia-nccl-cu12 (469 MB) that a CPU never uses; the override below
# drops it, and the project's `gpu` extra brings it back.
set -eu
cd "$(dirname "$0")/.."
uv=${UV:-.venv/bin/uv}
override=$(mktemp)
trap 'rm -f "$override"' EXIT
echo "nvidia-nccl-cu12 ; python_version < '3'" >"$override"

compile() {
    "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-emit-find-links --no-header --override "$override" "$@"
}

compile pyproject.toml --extra dev --output-file requirements.lock
compile pyproject.toml --constraint requirements.lock --output-file deploy/serving.lock
echo "uv" | compile - --constraint requirements.lock --output-file deploy/bootstrap.lock
echo "ministack>=1.5,<1.6" | compile - --output-file deploy/embedded/requirements.lock
