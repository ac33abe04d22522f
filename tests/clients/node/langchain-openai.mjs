// LangChain with @langchain/openai.
import { ChatOpenAI } from "@langchain/openai";
import { playWith } from "./langchain.mjs";
import { url } from "./protocol.mjs";

playWith(({ key, model }) => new ChatOpenAI({ model, apiKey: key, configuration: { baseURL: `${url}/v1` } }));
