// @openai/agents: its runner, which uses the Responses API by default.
import { Agent, OpenAIProvider, Runner, setTracingDisabled, tool, user } from "@openai/agents";
import { z } from "zod";
import { GOODBYE, HELLO, LONG, TRIP, WEATHER, play, summed, url, weatherTool } from "./protocol.mjs";

setTracingDisabled(true);
const runner = ({ key }) => new Runner({ modelProvider: new OpenAIProvider({ baseURL: `${url}/v1`, apiKey: key }) });
const agent = ({ model }, more = {}) => new Agent({ name: "guide", instructions: "Answer briefly.", model, ...more });
const count = (...states) => summed("inputTokens", "outputTokens", states.map(({ usage }) => usage));
const Trip = z.object({ city: z.string(), days: z.number().int() });

async function plain(cell) {
  const result = await runner(cell).run(agent(cell), HELLO);
  return { text: result.finalOutput, usage: count(result.state) };
}

async function streamed(cell) {
  const result = await runner(cell).run(agent(cell), HELLO, { stream: true });
  let text = "";
  for await (const piece of result.toTextStream()) text += piece;
  await result.completed;
  return { text, usage: count(result.state) };
}

async function conversation(cell) {
  const first = await runner(cell).run(agent(cell), HELLO);
  const second = await runner(cell).run(agent(cell), [...first.history, user(GOODBYE)]);
  return { text: second.finalOutput, usage: count(first.state, second.state) };
}

async function tools(cell) {
  const { seen, run } = weatherTool();
  const parameters = z.object({ city: z.string() });
  const execute = async (input) => run(input);
  const get_weather = tool({ name: "get_weather", description: "The weather of a city.", parameters, execute });
  const result = await runner(cell).run(agent(cell, { tools: [get_weather] }), WEATHER);
  return { text: result.finalOutput, tool: seen, usage: count(result.state) };
}

async function structured(cell) {
  const result = await runner(cell).run(agent(cell, { outputType: Trip }), TRIP);
  return { object: result.finalOutput, usage: count(result.state) };
}

async function hangUp(cell) {
  const abort = new AbortController();
  const result = await runner(cell).run(agent(cell), LONG, { stream: true, signal: abort.signal });
  for await (const text of result.toTextStream()) {
    if (text) {
      abort.abort();
      return { text };
    }
  }
}

play({ plain, streamed, conversation, tools, structured, "hang-up": hangUp });
