#!/bin/bash
# A STAC API of its own (stac-fastapi.pgstac on PostgreSQL with PostGIS, in a folder that is thrown away), and the tests
# that search it: make test-stac-api. Needs Debian or Ubuntu, and rights to install packages if PostGIS is not there.
set -euo pipefail

cd "$(dirname "$0")/.."
VENV=.venv-stac
python=${PYTHON:-.venv/bin/python}

if ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || ! ls /usr/share/postgresql/*/extension/postgis.control >/dev/null 2>&1; then
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql postgresql-15-postgis-3 >/dev/null
fi
server=$(ls -d /usr/lib/postgresql/*/bin | tail -1)
if [ ! -x "$VENV/bin/uvicorn" ]; then
  "$python" -m venv "$VENV"
  "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check \
    stac-fastapi.pgstac==7.2.0 'pypgstac[psycopg]==0.10.0' uvicorn
fi

folder=$(mktemp -d)
free_port() { "$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
export PGHOST=127.0.0.1 PGPORT PGUSER=swath PGPASSWORD=swath PGDATABASE=postgres
PGPORT=$(free_port)
port=$(free_port)
# PostgreSQL refuses to run as root.
as=(env)
if [ "$(id -u)" = 0 ]; then
  chown postgres "$folder"
  as=(runuser -u postgres --)
fi
api=
stop() {
  # First the API, or it calls for its database to the end.
  if [ -n "$api" ]; then kill "$api" 2>/dev/null || true; wait "$api" 2>/dev/null || true; fi
  "${as[@]}" "$server/pg_ctl" -D "$folder/data" -m immediate stop >/dev/null 2>&1 || true
  rm -rf "$folder"
}
trap stop EXIT

"${as[@]}" "$server/initdb" -D "$folder/data" -U swath --auth=trust >/dev/null
"${as[@]}" "$server/pg_ctl" -D "$folder/data" -w -o "-p $PGPORT -k $folder -c fsync=off" -l "$folder/log" start >/dev/null
"$VENV/bin/pypgstac" migrate >/dev/null

ENABLE_TRANSACTIONS_EXTENSIONS=TRUE "$VENV/bin/uvicorn" stac_fastapi.pgstac.app:create_app --factory \
  --host 127.0.0.1 --port "$port" --log-level warning &
api=$!
for _ in $(seq 120); do
  if "$python" -c "import urllib.request; urllib.request.urlopen('http://127.0.0.1:$port/_mgmt/ping')" 2>/dev/null; then break; fi
  sleep 0.5
done
NO_PROXY=127.0.0.1 SWATH_STAC_API="http://127.0.0.1:$port" "$python" -m pytest -q tests/scenes/sources/test_stac_api.py "$@"
