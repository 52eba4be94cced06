#!/bin/sh
# Makes or updates one login a program, each a member of its least-privileged group role. Run by docker compose.
set -eu
login() {
    psql -h postgres -U owner -d meridian -X -q -v ON_ERROR_STOP=1 -v role="meridian_$1_login" -v grp="meridian_$1" -v password="$2" <<'SQL'
SELECT format('CREATE ROLE %I LOGIN', :'role') WHERE NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = :'role') \gexec
ALTER ROLE :"role" PASSWORD :'password';
GRANT :"grp" TO :"role";
SQL
}
login scheduler "$SCHEDULER_PASSWORD"
login worker "$WORKER_PASSWORD"
login admin "$ADMIN_PASSWORD"
