#!/bin/sh
# What the Lambda Web Adapter starts: the app, behind a server that only the adapter can reach.
export PYTHONPATH="$LAMBDA_TASK_ROOT:/opt/python${PYTHONPATH:+:$PYTHONPATH}"

# The request context travels in a header, so headers may be large. Keep-alive and grace outlast any stream: the adapter
# and Lambda decide when a connection or a call is over.
exec python -P -m uvicorn app:app --app-dir "$LAMBDA_TASK_ROOT" \
  --host 127.0.0.1 --port "${AWS_LWA_PORT:-${PORT:-8080}}" \
  --loop asyncio --http h11 --ws none --lifespan off \
  --no-access-log --log-level warning --no-proxy-headers --no-server-header --no-date-header \
  --h11-max-incomplete-event-size 131072 --timeout-keep-alive 900 --timeout-graceful-shutdown 900
