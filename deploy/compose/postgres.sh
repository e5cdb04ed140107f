#!/bin/bash
# A database and a role each for Dagster and MLflow; PostgreSQL's image runs this on an empty volume.
set -eu

create() {
    psql --set ON_ERROR_STOP=1 --username postgres --set role="$1" --set password="$2" <<'SQL'
CREATE ROLE :"role" LOGIN PASSWORD :'password';
CREATE DATABASE :"role" OWNER :"role";
REVOKE CONNECT ON DATABASE :"role" FROM PUBLIC;
SQL
}

create dagster "$DAGSTER_DB_PASSWORD"
create mlflow "$MLFLOW_DB_PASSWORD"
