// openai: Chat Completions, with its tool runner and its parser of structured answers.
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";
import { GOODBYE, HELLO, LONG, TRIP, WEATHER, play, summed, url, weatherTool } from "./protocol.mjs";

const client = ({ key }) => new OpenAI({ baseURL: `${url}/v1`, apiKey: key });
const says = (content) => [{ role: "user", content }];
const count = (...usages) => summed("prompt_tokens", "completion_tokens", usages);
const Trip = z.object({ city: z.string(), days: z.number().int() });

async function plain(cell) {
  const answer = await client(cell).chat.completions.create({ model: cell.model, messages: says(HELLO) });
  return { text: answer.choices[0].message.content, usage: count(answer.usage) };
}

async function streamed(cell) {
  const stream = await client(cell).chat.completions.create({
    model: cell.model,
    messages: says(HELLO),
    stream: true,
    stream_options: { include_usage: true },
  });
  let text = "";
  let usage;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta?.content ?? "";
    usage = chunk.usage ?? usage;
  }
  return { text, usage: count(usage) };
}

async function conversation(cell) {
  const messages = says(HELLO);
  const first = await client(cell).chat.completions.create({ model: cell.model, messages });
  messages.push(first.choices[0].message, ...says(GOODBYE));
  const second = await client(cell).chat.completions.create({ model: cell.model, messages });
  return { text: second.choices[0].message.content, usage: count(first.usage, second.usage) };
}

async function tools(cell) {
  const { seen, run } = weatherTool();
  const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
  const get_weather = { name: "get_weather", description: "The weather of a city.", parameters, parse: JSON.parse };
  const runner = client(cell).chat.completions.runTools({
    model: cell.model,
    messages: says(WEATHER),
    tools: [{ type: "function", function: { ...get_weather, function: run } }],
  });
  return { text: await runner.finalContent(), tool: seen, usage: count(await runner.totalUsage()) };
}

async function structured(cell) {
  const answer = await client(cell).chat.completions.parse({
    model: cell.model,
    messages: says(TRIP),
    response_format: zodResponseFormat(Trip, "trip"),
  });
  return { object: answer.choices[0].message.parsed, usage: count(answer.usage) };
}

async function hangUp(cell) {
  const stream = await client(cell).chat.completions.create({ model: cell.model, messages: says(LONG), stream: true });
  for await (const chunk of stream) {
    const text = chunk.choices[0]?.delta?.content;
    if (text) {
      stream.controller.abort();
      return { text };
    }
  }
}

play({ plain, streamed, conversation, tools, structured, "hang-up": hangUp });
