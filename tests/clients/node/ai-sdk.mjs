// The AI SDK: the same program whichever provider makes the model.
import { Output, generateText, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";
import { GOODBYE, HELLO, LONG, TRIP, WEATHER, play, summed, weatherTool } from "./protocol.mjs";

const count = (...usages) => summed("inputTokens", "outputTokens", usages);
const Trip = z.object({ city: z.string(), days: z.number().int() });

/** Plays the scenarios on the model that `of` makes of a cell. */
export function playWith(of) {
  async function plain(cell) {
    const { text, usage } = await generateText({ model: of(cell), prompt: HELLO });
    return { text, usage: count(usage) };
  }

  async function streamed(cell) {
    const answer = streamText({ model: of(cell), prompt: HELLO, onError: () => {} });
    let text = "";
    for await (const part of answer.fullStream) {
      if (part.type === "error") throw part.error;
      if (part.type === "text-delta") text += part.text;
    }
    return { text, usage: count(await answer.usage) };
  }

  async function conversation(cell) {
    const messages = [{ role: "user", content: HELLO }];
    const first = await generateText({ model: of(cell), messages });
    messages.push(...first.response.messages, { role: "user", content: GOODBYE });
    const second = await generateText({ model: of(cell), messages });
    return { text: second.text, usage: count(first.usage, second.usage) };
  }

  async function tools(cell) {
    const { seen, run } = weatherTool();
    const inputSchema = z.object({ city: z.string() });
    const get_weather = tool({ description: "The weather of a city.", inputSchema, execute: async (input) => run(input) });
    const answer = await generateText({
      model: of(cell),
      prompt: WEATHER,
      tools: { get_weather },
      stopWhen: stepCountIs(5),
    });
    return { text: answer.text, tool: seen, usage: count(answer.totalUsage) };
  }

  async function structured(cell) {
    const answer = await generateText({ model: of(cell), prompt: TRIP, output: Output.object({ schema: Trip }) });
    return { object: answer.output, usage: count(answer.usage) };
  }

  async function hangUp(cell) {
    const abort = new AbortController();
    const answer = streamText({ model: of(cell), prompt: LONG, abortSignal: abort.signal, onError: () => {} });
    for await (const part of answer.fullStream) {
      if (part.type === "error") throw part.error;
      if (part.type === "text-delta" && part.text) {
        abort.abort();
        return { text: part.text };
      }
    }
  }

  return play({ plain, streamed, conversation, tools, structured, "hang-up": hangUp });
}
