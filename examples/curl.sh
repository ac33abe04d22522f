#!/bin/sh
# curl: any of the APIs, with the key as a bearer token or in x-api-key.
set -eu
model=us.anthropic.claude-haiku-4-5-20251001-v1:0
ask() { curl --silent --show-error --fail-with-body --header "Authorization: Bearer $GATEWAY_KEY" "$@"; }
json='content-type: application/json'

# The gateway's own call, as it was in 2024.
ask "$GATEWAY_URL/invoke_model?model_id=$model" --header "$json" \
  --data '{"inputs": "What is a ledger?", "parameters": {"max_tokens": 100}}'
echo

# OpenAI's chat completions, as a stream; --no-buffer shows each piece as it comes.
ask --no-buffer "$GATEWAY_URL/v1/chat/completions" --header "$json" --data '{
  "model": "'$model'", "stream": true, "stream_options": {"include_usage": true},
  "messages": [{"role": "user", "content": "What is a ledger?"}]}'

# Bedrock's Converse.
ask "$GATEWAY_URL/model/$model/converse" --header "$json" \
  --data '{"messages": [{"role": "user", "content": [{"text": "What is a ledger?"}]}]}'
echo

# What all of it used and cost today.
ask "$GATEWAY_URL/usage"
echo
