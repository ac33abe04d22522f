// openai: the Responses API, with a loop that sends the model's own items back.
import OpenAI from "openai";
import { zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";
import { GOODBYE, HELLO, LONG, TRIP, WEATHER, play, summed, url, weatherTool } from "./protocol.mjs";

const client = ({ key }) => new OpenAI({ baseURL: `${url}/v1`, apiKey: key });
const count = (...usages) => summed("input_tokens", "output_tokens", usages);
const Trip = z.object({ city: z.string(), days: z.number().int() });

async function plain(cell) {
  const answer = await client(cell).responses.create({ model: cell.model, input: HELLO });
  return { text: answer.output_text, usage: count(answer.usage) };
}

async function streamed(cell) {
  const stream = client(cell).responses.stream({ model: cell.model, input: HELLO });
  const answer = await stream.finalResponse();
  return { text: answer.output_text, usage: count(answer.usage) };
}

async function conversation(cell) {
  const input = [{ role: "user", content: HELLO }];
  const first = await client(cell).responses.create({ model: cell.model, input });
  input.push(...first.output, { role: "user", content: GOODBYE });
  const second = await client(cell).responses.create({ model: cell.model, input });
  return { text: second.output_text, usage: count(first.usage, second.usage) };
}

async function tools(cell) {
  const { seen, run } = weatherTool();
  const properties = { city: { type: "string" } };
  const asked = {
    model: cell.model,
    tools: [
      {
        type: "function",
        name: "get_weather",
        description: "The weather of a city.",
        parameters: { type: "object", properties, required: ["city"], additionalProperties: false },
        strict: true,
      },
    ],
  };
  const input = [{ role: "user", content: WEATHER }];
  const first = await client(cell).responses.create({ ...asked, input });
  input.push(...first.output);
  for (const item of first.output.filter(({ type }) => type === "function_call")) {
    const output = run(JSON.parse(item.arguments));
    input.push({ type: "function_call_output", call_id: item.call_id, output });
  }
  const second = await client(cell).responses.create({ ...asked, input });
  return { text: second.output_text, tool: seen, usage: count(first.usage, second.usage) };
}

async function structured(cell) {
  const answer = await client(cell).responses.parse({
    model: cell.model,
    input: TRIP,
    text: { format: zodTextFormat(Trip, "trip") },
  });
  return { object: answer.output_parsed, usage: count(answer.usage) };
}

async function hangUp(cell) {
  const stream = await client(cell).responses.create({ model: cell.model, input: LONG, stream: true });
  for await (const event of stream) {
    if (event.type === "response.output_text.delta" && event.delta) {
      stream.controller.abort();
      return { text: event.delta };
    }
  }
}

play({ plain, streamed, conversation, tools, structured, "hang-up": hangUp });
