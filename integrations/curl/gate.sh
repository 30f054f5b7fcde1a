#!/bin/sh
# Waits for Mintmark's verdict with nothing but a shell and curl. Exits like
# "mintmark rollout gate": 0 pass, 10 fail, 11 inconclusive, 12 wait, 31 unreachable.
#
#   MINTMARK_SERVER=https://control.example:8443 MINTMARK_TOKEN=… gate.sh SERVICE [SECONDS]
set -eu
rollout=${1:?usage: gate.sh SERVICE [SECONDS]}
end=$(($(date +%s) + ${2:-600}))
while :; do
  hold=$((end - $(date +%s)))
  if [ "$hold" -gt 20 ]; then hold=20; elif [ "$hold" -lt 0 ]; then hold=0; fi
  # The token comes on standard input, so that it is in no process list.
  body=$(printf 'header = "Authorization: Bearer %s"\n' "$MINTMARK_TOKEN" |
    curl --silent --show-error --fail-with-body --max-time 40 --config - \
      "$MINTMARK_SERVER/v1/rollouts/$rollout/gate?wait=${hold}s") || {
    case $body in
      *'"code":"not_auth'*) echo "$body" >&2; exit 4 ;;
      *'"code":"not_found"'*) echo "$body" >&2; exit 5 ;;
    esac
    [ "$(date +%s)" -lt "$end" ] || exit 31
    sleep 2
    continue
  }
  verdict=$(printf %s "$body" | sed -n 's/.*"verdict":"\([a-z]*\)".*/\1/p')
  case $verdict in
    pass) exit 0 ;;
    fail) echo "$body" >&2; exit 10 ;;
    wait) [ "$(date +%s)" -lt "$end" ] || exit 12 ;;
    *) echo "$body" >&2; exit 11 ;;
  esac
done
