#!/bin/sh
# What each image holds, as CycloneDX: build/sbom/churn-NAME.cdx.json.
#   deploy/sbom.sh NAME...    names as in images.sh
# Read off the packages that are installed in the image itself, not off a lock.
set -eu
cd "$(dirname "$0")/.."
mkdir -p build/sbom
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
for name in "$@"; do
    image=${CHURN_REGISTRY:-}churn-$name:${CHURN_VERSION:-latest}
    docker run --rm --network none --entrypoint python "$image" -c '
from importlib.metadata import distributions
print("\n".join(sorted(f"{d.name}=={d.version}" for d in distributions())))' >"$scratch/$name.txt"
    .venv-check/bin/cyclonedx-py requirements "$scratch/$name.txt" --output-reproducible \
        --output-format JSON --output-file "build/sbom/churn-$name.cdx.json"
    echo "build/sbom/churn-$name.cdx.json: $(wc -l <"$scratch/$name.txt") packages"
done
