// The AWS SDK for JavaScript, unchanged: four operations, an error, and an abandoned stream. Prints the results.
import {
  BedrockRuntimeClient,
  ConverseCommand,
  ConverseStreamCommand,
  InvokeModelCommand,
  InvokeModelWithResponseStreamCommand,
} from "@aws-sdk/client-bedrock-runtime";

const CLAUDE = "us.anthropic.claude-haiku-4-5-20251001-v1:0";
const NOVA = "amazon.nova-lite-v1:0";
const client = new BedrockRuntimeClient({ endpoint: process.env.GATEWAY_URL, region: "us-east-1", maxAttempts: 1 });
const text = new TextDecoder();
const said = (words) => [{ role: "user", content: [{ text: words }] }];
const claude = JSON.stringify({
  anthropic_version: "bedrock-2023-05-31",
  max_tokens: 50,
  messages: [{ role: "user", content: "What is a ledger?" }],
});

async function converse(words = "What is a ledger?") {
  const answer = await client.send(new ConverseCommand({ modelId: NOVA, messages: said(words) }));
  return { text: answer.output.message.content[0].text, usage: answer.usage };
}

async function converseStream(words = "What is a ledger?", most = Infinity) {
  const leaving = new AbortController();
  const command = new ConverseStreamCommand({ modelId: NOVA, messages: said(words) });
  const answer = await client.send(command, { abortSignal: leaving.signal });
  let read = "", usage = null, parts = 0;
  try {
    for await (const event of answer.stream) {
      read += event.contentBlockDelta?.delta.text ?? "";
      usage = event.metadata?.usage ?? usage;
      if (event.contentBlockDelta && ++parts === most) leaving.abort();
    }
  } catch (error) {
    if (parts < most) throw error;
  }
  return { text: read, usage };
}

async function invoke() {
  const answer = await client.send(new InvokeModelCommand({ modelId: CLAUDE, contentType: "application/json", body: claude }));
  const body = JSON.parse(text.decode(answer.body));
  return { text: body.content[0].text, usage: body.usage };
}

async function invokeStream() {
  const command = new InvokeModelWithResponseStreamCommand({ modelId: CLAUDE, contentType: "application/json", body: claude });
  const answer = await client.send(command);
  let read = "";
  for await (const event of answer.body) {
    const chunk = JSON.parse(text.decode(event.chunk.bytes));
    read += chunk.delta?.text ?? "";
  }
  return { text: read };
}

async function refused() {
  try {
    await client.send(new ConverseCommand({ modelId: "no.such-model-v1:0", messages: said("hello") }));
  } catch (error) {
    return { name: error.name, status: error.$metadata?.httpStatusCode, message: error.message };
  }
}

const met = {
  protocol: client.config.requestHandler.metadata.handlerProtocol,
  converse: await converse(),
  converseStream: await converseStream(),
  invoke: await invoke(),
  invokeStream: await invokeStream(),
  refused: await refused(),
  many: (await Promise.all(Array.from({ length: 20 }, (_, n) => converse(`side by side ${n}`)))).length,
  large: (await converse("x".repeat(200_000))).usage.inputTokens,
  // Abandoned in the middle: the stream is reset, the connection stays open.
  leftEarly: await converseStream("[[chunk_delay=0.2]] [[chunks=20]] [[tokens_out=40]] given up", 2),
  after: await converse("after it"),
};
client.destroy();
console.log(JSON.stringify(met));
