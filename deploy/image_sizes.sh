#!/bin/sh
# Each image's size, and what takes the most of it: largest packages in MB.
#   deploy/image_sizes.sh NAME...    names as in images.sh
set -eu
for name in "$@"; do
    image=${CHURN_REGISTRY:-}churn-$name:${CHURN_VERSION:-latest}
    bytes=$(docker image inspect --format '{{.Size}}' "$image")
    largest=$(docker run --rm --network none --entrypoint sh "$image" -c \
        'du -m -d 1 /opt/venv/lib/python*/site-packages | sort -rn' |
        sed -n 2,9p | sed 's#\([0-9]*\).*/\(.*\)#\2 \1#' | paste -s -d , - | sed 's/,/, /g')
    printf '%-16s %5d MB   %s\n' "churn-$name" $((bytes / 1000000)) "$largest"
done
