// @aws-sdk/client-bedrock-runtime as it comes: over HTTP/2, with a Bedrock API key from the environment.
import { BedrockRuntimeClient, ConverseCommand, ConverseStreamCommand } from "@aws-sdk/client-bedrock-runtime";
import { GOODBYE, HELLO, LONG, TRIP, WEATHER, play, summed, url, weatherTool } from "./protocol.mjs";

function client({ key }) {
  process.env.AWS_BEARER_TOKEN_BEDROCK = key;
  return new BedrockRuntimeClient({ endpoint: url, region: "us-east-1" });
}
const says = (text) => ({ role: "user", content: [{ text }] });
const count = (...usages) => summed("inputTokens", "outputTokens", usages);
const said = (answer) => answer.output.message.content.map((block) => block.text ?? "").join("");
const spec = (name, description, properties) => {
  const json = { type: "object", properties, required: Object.keys(properties) };
  return { toolSpec: { name, description, inputSchema: { json } } };
};

async function plain(cell) {
  const answer = await client(cell).send(new ConverseCommand({ modelId: cell.model, messages: [says(HELLO)] }));
  return { text: said(answer), usage: count(answer.usage) };
}

async function streamed(cell) {
  const asked = new ConverseStreamCommand({ modelId: cell.model, messages: [says(HELLO)] });
  const answer = await client(cell).send(asked);
  let text = "";
  let usage;
  for await (const event of answer.stream) {
    text += event.contentBlockDelta?.delta.text ?? "";
    usage = event.metadata?.usage ?? usage;
  }
  return { text, usage: count(usage) };
}

async function conversation(cell) {
  const messages = [says(HELLO)];
  const first = await client(cell).send(new ConverseCommand({ modelId: cell.model, messages }));
  messages.push(first.output.message, says(GOODBYE));
  const second = await client(cell).send(new ConverseCommand({ modelId: cell.model, messages }));
  return { text: said(second), usage: count(first.usage, second.usage) };
}

async function tools(cell) {
  const { seen, run } = weatherTool();
  const toolConfig = { tools: [spec("get_weather", "The weather of a city.", { city: { type: "string" } })] };
  const own = client(cell);
  const messages = [says(WEATHER)];
  const first = await own.send(new ConverseCommand({ modelId: cell.model, messages, toolConfig }));
  const calls = first.output.message.content.filter((block) => block.toolUse).map((block) => block.toolUse);
  const results = calls.map(({ toolUseId, input }) => ({ toolResult: { toolUseId, content: [{ text: run(input) }] } }));
  messages.push(first.output.message, { role: "user", content: results });
  const second = await own.send(new ConverseCommand({ modelId: cell.model, messages, toolConfig }));
  return { text: said(second), tool: seen, usage: count(first.usage, second.usage) };
}

// AWS's guide recommends this for every model: the model must call the one tool, whose schema is the wanted shape.
async function structured(cell) {
  const trip = spec("trip", "A trip.", { city: { type: "string" }, days: { type: "integer" } });
  const toolConfig = { tools: [trip], toolChoice: { tool: { name: "trip" } } };
  const asked = new ConverseCommand({ modelId: cell.model, messages: [says(TRIP)], toolConfig });
  const answer = await client(cell).send(asked);
  const called = answer.output.message.content.find((block) => block.toolUse);
  return { object: called.toolUse.input, usage: count(answer.usage) };
}

async function hangUp(cell) {
  const abort = new AbortController();
  const asked = new ConverseStreamCommand({ modelId: cell.model, messages: [says(LONG)] });
  const answer = await client(cell).send(asked, { abortSignal: abort.signal });
  for await (const event of answer.stream) {
    const text = event.contentBlockDelta?.delta.text;
    if (text) {
      abort.abort();
      return { text };
    }
  }
}

play({ plain, streamed, conversation, tools, structured, "hang-up": hangUp });
