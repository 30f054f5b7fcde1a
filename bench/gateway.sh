#!/usr/bin/env bash
# gateway.sh runs our gateway, the bare proxy of its engine, nginx, HAProxy and the
# standard library's reverse proxy side by side; flags go to bench/rig (-h lists
# them). It needs Linux with taskset, nginx, haproxy and wrk (see scripts/need) and
# bin/mintmark (make build).
set -euo pipefail
cd "$(dirname "$0")/.."

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
CGO_ENABLED=0 go build -o "$tmp/rig" ./bench/rig
CGO_ENABLED=0 go build -tags uncounted -o "$tmp/uncounted" ./cmd/mintmark
"$tmp/rig" -binary bin/mintmark -uncounted "$tmp/uncounted" -dir "$tmp" "$@"
