#!/bin/sh
# Random passwords of the compose stack's own servers, and its profiles: deploy/compose/secrets.sh
# Compose reads `.env` by itself, so a bare `docker compose up` works too. What is in it stays.
set -eu
file=.env
umask 077
touch "$file"
chmod 600 "$file"

keep() { grep -q "^$1=" "$file" || echo "$1=$2" >>"$file"; }

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

keep COMPOSE_PROFILES train,serve,monitor,local
for name in POSTGRES DAGSTER_DB MLFLOW_DB MONGO_ROOT MONGO GRAFANA; do
    keep "${name}_PASSWORD" "$(random)"
done
