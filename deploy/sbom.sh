#!/bin/sh
# What each image holds, as CycloneDX: build/sbom/churn-NAME.cdx.json.
#   deploy/sbom.sh NAME...    names as in images.sh
# Read off what is installed in the image itself, Python's and Debian's packages, not off a lock.
set -eu
cd "$(dirname "$0")/.."
mkdir -p build/sbom
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

in_image() { docker run --rm --network none --entrypoint "$1" "$image" "$2" "$3"; }

for name in "$@"; do
    image=${CHURN_REGISTRY:-}churn-$name:${CHURN_VERSION:-latest}
    # shellcheck disable=SC2016 # dpkg-query's own variables
    in_image dpkg-query --show '--showformat=${Package} ${Version}\n' >"$scratch/debian.txt"
    in_image python -c '
from importlib.metadata import distributions
print("\n".join(sorted(f"{d.name}=={d.version}" for d in distributions())))' >"$scratch/python.txt"
    .venv-check/bin/cyclonedx-py requirements "$scratch/python.txt" --output-reproducible \
        --output-format JSON --output-file "$scratch/sbom.json"
    .venv-check/bin/python - "$image" "$scratch" >"build/sbom/churn-$name.cdx.json" <<'PYTHON'
import json, pathlib, sys, urllib.parse

image, scratch = sys.argv[1], pathlib.Path(sys.argv[2])
document = json.loads((scratch / "sbom.json").read_text())
for component in document["components"]:
    component.pop("externalReferences", None)
    component.pop("description", None)
for line in (scratch / "debian.txt").read_text().splitlines():
    name, version = line.split()
    purl = f"pkg:deb/debian/{name}@{urllib.parse.quote(version)}"
    document["components"].append(
        {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    )
document["metadata"]["component"] = {"type": "container", "bom-ref": "image", "name": image}
print(json.dumps(document, indent=1))
PYTHON
    echo "build/sbom/churn-$name.cdx.json: $(wc -l <"$scratch/python.txt") Python and" \
        "$(wc -l <"$scratch/debian.txt") Debian packages"
done
