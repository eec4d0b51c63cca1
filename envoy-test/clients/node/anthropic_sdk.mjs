// The SDK of Anthropic.

import Anthropic from '@anthropic-ai/sdk';

import { PROMPT, SYSTEM, TOOL, TOOL_DESCRIPTION, TOOL_PARAMETERS, all, main, until, version, withHttp2 } from './calls.mjs';

const MESSAGE = {
  model: 'claude-haiku-4-5',
  max_tokens: 200,
  system: SYSTEM,
  messages: [{ role: 'user', content: PROMPT }],
};
const TOOLS = [{ name: TOOL, description: TOOL_DESCRIPTION, input_schema: TOOL_PARAMETERS }];

const client = (call, options) =>
  new Anthropic({ baseURL: call.url, apiKey: 'key', defaultHeaders: call.headers, ...options });
const http2 = (call, use, options) => withHttp2(call.url, (fetch) => use(client(call, { fetch, ...options })));

const message = (sdk) => sdk.messages.create(MESSAGE);
const stream = async (sdk) => all(await sdk.messages.create({ ...MESSAGE, stream: true }));
const hasText = (event) => event.type === 'content_block_delta';
const abort = async (sdk) => until(await sdk.messages.create({ ...MESSAGE, stream: true }), hasText);

const calls = {
  'plain message': (call) => message(client(call)),
  'plain count': (call) => client(call).messages.countTokens({ model: MESSAGE.model, messages: MESSAGE.messages }),
  'stream message': (call) => stream(client(call)),
  'stream by helper': async (call) => {
    const events = client(call).messages.stream(MESSAGE);
    return [await all(events), await events.finalMessage()];
  },
  'tools message': (call) => client(call).messages.create({ ...MESSAGE, tools: TOOLS }),
  'tools stream': async (call) => all(await client(call).messages.create({ ...MESSAGE, tools: TOOLS, stream: true })),
  'http2 message': (call) => http2(call, message),
  'http2 stream': (call) => http2(call, stream),
  'abort message': (call) => abort(client(call, { defaultHeaders: call.hold() })),
  'abort http2': (call) => http2(call, abort, { defaultHeaders: call.hold() }),
};
const rejected = ['plain message', 'plain count', 'stream message', 'stream by helper', 'http2 stream'];

await main(version('@anthropic-ai/sdk'), calls, rejected);
