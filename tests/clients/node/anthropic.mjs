// @anthropic-ai/sdk: Messages, with its tool runner and its parser of structured answers.
import Anthropic from "@anthropic-ai/sdk";
import { betaZodTool } from "@anthropic-ai/sdk/helpers/beta/zod";
import { zodOutputFormat } from "@anthropic-ai/sdk/helpers/zod";
import { z } from "zod";
import { GOODBYE, HELLO, LONG, TRIP, WEATHER, play, summed, url, weatherTool } from "./protocol.mjs";

const client = ({ key }) => new Anthropic({ baseURL: url, apiKey: key });
const asks = (cell, content) => ({ model: cell.model, max_tokens: 500, messages: [{ role: "user", content }] });
const count = (...usages) => summed("input_tokens", "output_tokens", usages);
const said = (message) => message.content.map((block) => block.text ?? "").join("");
const Trip = z.object({ city: z.string(), days: z.number().int() });

async function plain(cell) {
  const message = await client(cell).messages.create(asks(cell, HELLO));
  return { text: said(message), usage: count(message.usage) };
}

async function streamed(cell) {
  const message = await client(cell).messages.stream(asks(cell, HELLO)).finalMessage();
  return { text: said(message), usage: count(message.usage) };
}

async function conversation(cell) {
  const asked = asks(cell, HELLO);
  const first = await client(cell).messages.create(asked);
  asked.messages.push({ role: "assistant", content: first.content }, { role: "user", content: GOODBYE });
  const second = await client(cell).messages.create(asked);
  return { text: said(second), usage: count(first.usage, second.usage) };
}

async function tools(cell) {
  const { seen, run } = weatherTool();
  const inputSchema = z.object({ city: z.string() });
  const get_weather = betaZodTool({ name: "get_weather", description: "The weather of a city.", inputSchema, run });
  const runner = client(cell).beta.messages.toolRunner({ ...asks(cell, WEATHER), tools: [get_weather] });
  const usages = [];
  let last;
  for await (const message of runner) {
    usages.push(message.usage);
    last = message;
  }
  return { text: said(last), tool: seen, usage: count(...usages) };
}

async function structured(cell) {
  const output_config = { format: zodOutputFormat(Trip) };
  const message = await client(cell).messages.parse({ ...asks(cell, TRIP), output_config });
  return { object: message.parsed_output, usage: count(message.usage) };
}

async function hangUp(cell) {
  const stream = client(cell).messages.stream(asks(cell, LONG));
  for await (const event of stream) {
    if (event.type === "content_block_delta" && event.delta.text) {
      stream.abort();
      return { text: event.delta.text };
    }
  }
}

play({ plain, streamed, conversation, tools, structured, "hang-up": hangUp });
