// The AI SDK with @ai-sdk/anthropic.
import { createAnthropic } from "@ai-sdk/anthropic";
import { playWith } from "./ai-sdk.mjs";
import { url } from "./protocol.mjs";

playWith(({ key, model }) => createAnthropic({ baseURL: `${url}/v1`, apiKey: key })(model));
