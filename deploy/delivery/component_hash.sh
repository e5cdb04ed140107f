#!/bin/sh
# The content of a component's image as one short hash, from git alone: equal hashes, equal image.
#   component_hash.sh NAME [COMMIT]    NAME: a folder of deploy/ with a Dockerfile, or http (the Bento)
# What goes in is read off the Dockerfile's own COPY lines, so that none can be forgotten here.
# The month goes in too: updates of the base image arrive within it.
set -eu

component=$1
commit=${2:-HEAD}
cd "$(dirname "$0")/../.."

if [ "$component" = http ]; then
    recipe=bentofile.yaml
    copied=$(git show "$commit:$recipe" |
        awk '/(requirements_txt|dockerfile_template):/ {print $2} /^ +- "/ {gsub(/[" ]|^ *- /, ""); print}')
else
    recipe=deploy/$component/Dockerfile
    copied=".dockerignore $(git show "$commit:$recipe" |
        sed -e ':join' -e '/\\$/ {N; s/\\\n/ /; b join' -e '}' |
        awk '$1 == "COPY" && !/--from=/ {for (i = 2; i < NF; i++) if ($i !~ /^--/) print $i}')"
fi

content=${CHURN_EPOCH:-$(date -u +%Y-%m)}
for path in $recipe $copied; do
    folder=${path%%/\**} # of a pattern, all that lies in its folder
    found=$(git ls-tree -r "$commit" -- "${folder%/}")
    if [ -z "$found" ]; then
        echo "component_hash.sh: $recipe copies $path, which $commit does not hold" >&2
        exit 1
    fi
    content="$content
$found"
done
printf '%s\n' "$content" | sha256sum | cut -c 1-16
