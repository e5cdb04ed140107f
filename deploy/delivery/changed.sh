#!/bin/sh
# What a push changed: "run_id" when RUN_ID in .env.cloud is all, else "code".
#   changed.sh OLD_COMMIT NEW_COMMIT
set -eu
cd "$(dirname "$0")/../.."

changes=$(git diff --unified=0 --no-color "$1" "$2" 2>/dev/null) || changes=unknown # a new branch has no OLD
files=$(git diff --name-only "$1" "$2" 2>/dev/null) || files=unknown
lines=$(printf '%s\n' "$changes" | grep '^[-+]' | grep -v -e '^--- a/' -e '^+++ b/' || true)
if [ "$files" = .env.cloud ] && [ -n "$lines" ] &&
    ! printf '%s\n' "$lines" | grep -qvE '^[-+]RUN_ID=([0-9a-f]{32})?$'; then
    echo run_id
else
    echo code
fi
