#!/bin/sh
# First process of every Apaise image: secrets, then Ray's node where there is one, then the command itself (exec).
set -eu

# A file named like a variable (upper case) becomes that variable. Secrets thus stay out of the images, of compose.yaml and
# of what `docker inspect` shows; the other files (tokens.yaml, ray_token) are read where they are.
for file in "${APAISE_SECRETS_DIR:-/run/secrets}"/[A-Z]*; do
  [ -f "$file" ] || continue
  value=$(cat "$file")
  export "$(basename "$file")=$value"
done

# A driver of Ray needs a Ray node beside it. This one offers neither CPU nor GPU: replicas and trainings go elsewhere. It
# ends when the head goes away; the service is then asked to end too ($$ is its process after exec), and started again.
if [ -n "${APAISE_RAY_ADDRESS:-}" ]; then
  session="${RAY_TMPDIR:-/tmp}/ray/session_latest"
  rm -rf "$session"
  (
    ray start --block --address="$APAISE_RAY_ADDRESS" --num-cpus=0 --num-gpus=0 --object-store-memory=134217728 \
      --include-log-monitor=false --disable-usage-stats >&2 || true
    kill -TERM $$
  ) &
  # Not for ever: without a node the service says so itself, and keeps trying.
  for _ in $(seq 60); do
    [ ! -S "$session/sockets/raylet" ] || break
    sleep 0.5
  done
fi

exec "$@"
