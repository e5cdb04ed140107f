#!/bin/sh
# The section of CHANGELOG.md of a version, for its release; fails when there is none.
#   changelog.sh VERSION
set -eu
cd "$(dirname "$0")/../.."

awk -v heading="## $1" '
    /^## / {inside = ($0 == heading || index($0, heading " ") == 1); found += inside; next}
    inside {print}
    END {exit !found}' CHANGELOG.md
