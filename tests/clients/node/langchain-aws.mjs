// LangChain with @langchain/aws: Converse over HTTP/2, with a Bedrock API key.
import { ChatBedrockConverse } from "@langchain/aws";
import { playWith } from "./langchain.mjs";

const endpointHost = new URL(process.env.GATEWAY_TLS_URL).host; // it expects a host, and uses TLS

playWith(
  ({ key, model }) => new ChatBedrockConverse({ model, region: "us-east-1", bedrockBearerToken: key, endpointHost }),
);
