// LangChain with @langchain/anthropic.
import { ChatAnthropic } from "@langchain/anthropic";
import { playWith } from "./langchain.mjs";
import { url } from "./protocol.mjs";

playWith(({ key, model }) => new ChatAnthropic({ model, apiKey: key, anthropicApiUrl: url }));
