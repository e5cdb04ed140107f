#!/bin/sh
# Wheel and source of a release, tried in an empty environment with the worker's locked libraries.
#   package.sh TAG FOLDER    TAG: v and the version in pyproject.toml, or empty: only build and try
# FOLDER gets both, notes.md (the version's section of CHANGELOG.md) and the lock of uv.
set -eu

tag=$1
mkdir -p "$2"
folder=$(cd "$2" && pwd)
cd "$(dirname "$0")/../.."
uv=$PWD/.venv/bin/uv
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

if [ -n "$tag" ]; then
    [ "$tag" = "v$version" ] || {
        echo "package.sh: tag $tag, but pyproject.toml says $version" >&2
        exit 1
    }
    deploy/delivery/changelog.sh "$version" >"$folder/notes.md" || {
        echo "package.sh: CHANGELOG.md has no section $version" >&2
        exit 1
    }
fi
cp deploy/bootstrap.lock "$folder"

# The same bytes from the same commit; only what git knows gets in.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
git archive HEAD | tar -x -C "$scratch"
"$uv" build --quiet --out-dir "$folder" "$scratch"

wheel=$folder/churn_platform-$version-py3-none-any.whl
python3 -m zipfile -l "$wheel" >"$scratch/contents"
for file in bento/runner.py stream_worker/worker.py churn_assets/definitions.py 'churn_assets/synthetic/.*json'; do
    grep -q "^$file" "$scratch/contents" || {
        echo "package.sh: the wheel lacks $file" >&2
        exit 1
    }
done
if grep -E '^(churn_assets_tests|deploy|benchmarks)/' "$scratch/contents" >&2; then
    echo 'package.sh: these do not belong into the wheel' >&2
    exit 1
fi

"$uv" venv --quiet "$scratch/venv"
"$uv" pip sync --quiet --python "$scratch/venv" --require-hashes deploy/worker/requirements.lock
"$uv" pip install --quiet --python "$scratch/venv" --no-deps --no-index "$wheel"
mkdir "$scratch/empty"
cd "$scratch/empty"
"$scratch/venv/bin/python" -c "import bento.runner, stream_worker.worker; print(bento.runner.__file__)" |
    grep -q "^$scratch/venv/"
echo "$(basename "$wheel"): $(grep -c '\.py' "$scratch/contents") modules, imported in an empty environment"
