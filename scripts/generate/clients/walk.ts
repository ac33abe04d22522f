// A walk through the API with the generated TypeScript client; prints its results as JSON.
import { createClient } from './client/index.js';
import {
  createChatCompletion,
  invokeModel,
  listFoundationModels,
  quoteInvocation,
  reportUsage,
  streamModel,
} from './index.js';

declare const process: { env: Record<string, string | undefined> };

const client = createClient({ baseUrl: process.env.GATEWAY_URL ?? '', auth: process.env.GATEWAY_KEY ?? '' });
const query = { model_id: 'anthropic.claude-3-haiku-20240307-v1:0' };
const body = { inputs: 'What is a ledger?', parameters: { max_tokens: 50 } };
const whole = { client, throwOnError: true } as const;

const { data: models } = await listFoundationModels(whole);
const { data: answer } = await invokeModel({ ...whole, query, body });
let text = '';
const { stream } = await streamModel({ client, query, body });
for await (const event of stream) {
  const said: unknown = event;
  if (typeof said === 'object' && said !== null && 'delta' in said) text += String(said.delta);
}
const { data: chat } = await createChatCompletion({
  ...whole,
  body: { model: query.model_id, messages: [{ role: 'user', content: 'What is a ledger?' }] },
});
const { data: quote } = await quoteInvocation({ ...whole, query, body });
const { data: usage } = await reportUsage(whole);
const { error } = await invokeModel({ client, body: { inputs: 'Hello' } });

console.log(
  JSON.stringify({
    models: models[0].modelSummaries.length,
    answer: answer[0].generated_text,
    stream: text,
    chat: [chat.choices[0]?.message.content, chat.choices[0]?.finish_reason, chat.usage.total_tokens],
    quote: [quote.fits, quote.most_usd],
    usage: [usage.totals.invocations, usage.totals.cost],
    problem: error?.code,
  }),
);
