// The AI SDK with @ai-sdk/openai and its default, the Responses API.
import { createOpenAI } from "@ai-sdk/openai";
import { playWith } from "./ai-sdk.mjs";
import { url } from "./protocol.mjs";

playWith(({ key, model }) => createOpenAI({ baseURL: `${url}/v1`, apiKey: key })(model));
