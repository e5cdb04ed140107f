#!/bin/bash
# What the official image does with an empty volume, as far as docker-compose.yaml needs it.
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    initdb --username postgres --auth-local trust --auth-host scram-sha-256 \
        --pwfile <(printf '%s\n' "$POSTGRES_PASSWORD") >/dev/null
    echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
    pg_ctl --wait --silent --options "-c listen_addresses=''" start
    for script in /docker-entrypoint-initdb.d/*.sh; do
        "$script"
    done
    pg_ctl --wait --silent --mode fast stop
fi
exec "$@" -c 'listen_addresses=*'
