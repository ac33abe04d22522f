// LangChain: the same program whichever package makes the model.
import { HumanMessage } from "@langchain/core/messages";
import { tool } from "@langchain/core/tools";
import { z } from "zod";
import { GOODBYE, HELLO, LONG, TRIP, WEATHER, play, summed, weatherTool } from "./protocol.mjs";

const count = (...messages) =>
  summed("input_tokens", "output_tokens", messages.map(({ usage_metadata }) => usage_metadata));
const Trip = z.object({ city: z.string(), days: z.number().int() });

/** Plays the scenarios on the model that `of` makes of a cell. */
export function playWith(of) {
  async function plain(cell) {
    const message = await of(cell).invoke(HELLO);
    return { text: message.text, usage: count(message) };
  }

  async function streamed(cell) {
    let whole;
    for await (const chunk of await of(cell).stream(HELLO)) whole = whole ? whole.concat(chunk) : chunk;
    return { text: whole.text, usage: count(whole) };
  }

  async function conversation(cell) {
    const messages = [new HumanMessage(HELLO)];
    const first = await of(cell).invoke(messages);
    messages.push(first, new HumanMessage(GOODBYE));
    const second = await of(cell).invoke(messages);
    return { text: second.text, usage: count(first, second) };
  }

  async function tools(cell) {
    const { seen, run } = weatherTool();
    const schema = z.object({ city: z.string() });
    const get_weather = tool(run, { name: "get_weather", description: "The weather of a city.", schema });
    const model = of(cell).bindTools([get_weather]);
    const messages = [new HumanMessage(WEATHER)];
    const first = await model.invoke(messages);
    messages.push(first);
    for (const call of first.tool_calls) messages.push(await get_weather.invoke(call));
    const second = await model.invoke(messages);
    return { text: second.text, tool: seen, usage: count(first, second) };
  }

  async function structured(cell) {
    // The tool's name tells an unforced model its purpose, if the package answers through a tool.
    const model = of(cell).withStructuredOutput(Trip, { name: "plan_trip", includeRaw: true });
    const { parsed, raw } = await model.invoke(TRIP);
    return { object: parsed, usage: count(raw) };
  }

  async function hangUp(cell) {
    const abort = new AbortController();
    for await (const chunk of await of(cell).stream(LONG, { signal: abort.signal })) {
      if (chunk.text) {
        abort.abort();
        return { text: chunk.text };
      }
    }
  }

  return play({ plain, streamed, conversation, tools, structured, "hang-up": hangUp });
}
