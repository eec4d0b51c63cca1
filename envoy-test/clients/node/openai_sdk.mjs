// The SDK of OpenAI.

import OpenAI from 'openai';

import { PROMPT, SYSTEM, TOOL, TOOL_DESCRIPTION, TOOL_PARAMETERS, all, main, until, version, withHttp2 } from './calls.mjs';

const CHAT = {
  model: 'gpt-5-mini',
  messages: [
    { role: 'system', content: SYSTEM },
    { role: 'user', content: PROMPT },
  ],
};
const TOOLS = [
  { type: 'function', function: { name: TOOL, description: TOOL_DESCRIPTION, parameters: TOOL_PARAMETERS } },
];
const RESPONSE = { model: 'gpt-5-mini', instructions: SYSTEM, input: PROMPT };
const RESPONSE_TOOLS = [
  { type: 'function', name: TOOL, description: TOOL_DESCRIPTION, parameters: TOOL_PARAMETERS, strict: false },
];

const client = (call, options) =>
  new OpenAI({ baseURL: `${call.url}/v1`, apiKey: 'key', defaultHeaders: call.headers, ...options });
const http2 = (call, use, options) => withHttp2(call.url, (fetch) => use(client(call, { fetch, ...options })));

const chat = (sdk) => sdk.chat.completions.create(CHAT);
const stream = async (sdk) => all(await sdk.chat.completions.create({ ...CHAT, stream: true }));
const hasText = (chunk) => Boolean(chunk.choices[0]?.delta.content);
const abort = async (sdk) => until(await sdk.chat.completions.create({ ...CHAT, stream: true }), hasText);

const calls = {
  'plain chat': (call) => chat(client(call)),
  'plain completion': (call) => client(call).completions.create({ model: 'gpt-3.5-turbo-instruct', prompt: PROMPT }),
  'plain response': (call) => client(call).responses.create(RESPONSE),
  'plain embeddings': (call) => client(call).embeddings.create({ model: 'text-embedding-3-small', input: [PROMPT] }),
  'stream chat': (call) => stream(client(call)),
  'stream chat with usage': async (call) =>
    all(
      await client(call).chat.completions.create({ ...CHAT, stream: true, stream_options: { include_usage: true } }),
    ),
  'stream chat by helper': async (call) => {
    const events = client(call).chat.completions.stream(CHAT);
    return [await all(events), await events.finalChatCompletion()];
  },
  'stream completion': async (call) =>
    all(await client(call).completions.create({ model: 'gpt-3.5-turbo-instruct', prompt: PROMPT, stream: true })),
  'stream response': async (call) => all(await client(call).responses.create({ ...RESPONSE, stream: true })),
  'tools chat': (call) => client(call).chat.completions.create({ ...CHAT, tools: TOOLS }),
  'tools chat stream': async (call) =>
    all(await client(call).chat.completions.create({ ...CHAT, tools: TOOLS, stream: true })),
  'tools response': (call) => client(call).responses.create({ ...RESPONSE, tools: RESPONSE_TOOLS }),
  'tools response stream': async (call) =>
    all(await client(call).responses.create({ ...RESPONSE, tools: RESPONSE_TOOLS, stream: true })),
  'http2 chat': (call) => http2(call, chat),
  'http2 stream': (call) => http2(call, stream),
  'abort chat': (call) => abort(client(call, { defaultHeaders: call.hold() })),
  'abort http2': (call) => http2(call, abort, { defaultHeaders: call.hold() }),
  'abort response': async (call) => {
    const events = await client(call, { defaultHeaders: call.hold() }).responses.create({ ...RESPONSE, stream: true });
    return until(events, (event) => event.type === 'response.output_text.delta');
  },
};
const rejected = ['plain chat', 'plain response', 'plain embeddings', 'stream chat', 'http2 stream'];

await main(version('openai'), calls, rejected);
