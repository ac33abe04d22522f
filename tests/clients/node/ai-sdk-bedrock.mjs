// The AI SDK with @ai-sdk/amazon-bedrock: Converse, with an API key.
import { createAmazonBedrock } from "@ai-sdk/amazon-bedrock";
import { playWith } from "./ai-sdk.mjs";
import { url } from "./protocol.mjs";

playWith(({ key, model }) => createAmazonBedrock({ baseURL: url, apiKey: key, region: "us-east-1" })(model));
