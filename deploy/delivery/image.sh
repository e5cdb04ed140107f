#!/bin/sh
# A component's image in the registry CHURN_REGISTRY (ends in /), tagged with a version. What was
# pushed with the same content is tagged again; else it is built and pushed.
#   image.sh COMPONENT VERSION    prints "built" or "kept", and the image by its digest
set -eu

component=$1 version=$2
cd "$(dirname "$0")/../.."
name=${CHURN_REGISTRY:?where to}churn-$component
content=content-$(deploy/delivery/component_hash.sh "$component")

done_as() {
    echo "$1 $(docker image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$name:$content" |
        grep -F "$name@")"
}

if docker pull --quiet "$name:$content" >&2; then
    if docker pull --quiet "$name:$version" >&2; then # tags never move: this run was repeated
        done_as kept
        exit
    fi
    result=kept
else
    CHURN_VERSION=$version deploy/images.sh "$component" >&2
    docker tag "$name:$version" "$name:$content"
    docker push --quiet "$name:$content" >&2
    result=built
fi
docker tag "$name:$content" "$name:$version"
docker push --quiet "$name:$version" >&2
done_as "$result"
