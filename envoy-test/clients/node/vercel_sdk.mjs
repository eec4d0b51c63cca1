// The AI SDK of Vercel, with the packages of its providers.

import { createAmazonBedrock } from '@ai-sdk/amazon-bedrock';
import { createAnthropic } from '@ai-sdk/anthropic';
import { createCohere } from '@ai-sdk/cohere';
import { createGoogleGenerativeAI } from '@ai-sdk/google';
import { createMistral } from '@ai-sdk/mistral';
import { createOpenAI } from '@ai-sdk/openai';
import { generateText, jsonSchema, streamText, tool } from 'ai';

import { PROMPT, SYSTEM, TOOL, TOOL_DESCRIPTION, TOOL_PARAMETERS, main, version, withHttp2 } from './calls.mjs';

// It would print warnings beside the document.
globalThis.AI_SDK_LOG_WARNINGS = false;

const TOOLS = { [TOOL]: tool({ description: TOOL_DESCRIPTION, inputSchema: jsonSchema(TOOL_PARAMETERS) }) };

/** The model of each provider, with its API at a gateway. */
const MODELS = {
  openai: (url, fetch) => createOpenAI({ baseURL: `${url}/v1`, apiKey: 'key', fetch })('gpt-5-mini'),
  'openai chat': (url, fetch) => createOpenAI({ baseURL: `${url}/v1`, apiKey: 'key', fetch }).chat('gpt-4.1-mini'),
  anthropic: (url, fetch) => createAnthropic({ baseURL: `${url}/v1`, apiKey: 'key', fetch })('claude-haiku-4-5'),
  google: (url, fetch) =>
    createGoogleGenerativeAI({ baseURL: `${url}/v1beta`, apiKey: 'key', fetch })('gemini-2.5-flash'),
  mistral: (url, fetch) => createMistral({ baseURL: `${url}/v1`, apiKey: 'key', fetch })('mistral-small-latest'),
  cohere: (url, fetch) => createCohere({ baseURL: `${url}/v2`, apiKey: 'key', fetch })('command-a-03-2025'),
  bedrock: (url, fetch) =>
    createAmazonBedrock({
      baseURL: url,
      region: 'us-east-1',
      accessKeyId: 'key-of-tests',
      secretAccessKey: 'secret-of-tests',
      fetch,
    })('anthropic.claude-haiku-4-5-20251001-v1:0'),
};

/** Returns the options of a call, without those that only log. */
const options = (call, model, rest) => ({
  model: MODELS[model](call.url),
  system: SYSTEM,
  prompt: PROMPT,
  headers: call.headers,
  ...rest,
});

/** Returns a result without the identifiers and times that the SDK makes up, and without the headers of HTTP. */
const normalized = ({ text, toolCalls, finishReason, usage, totalUsage, providerMetadata, warnings }) => ({
  text,
  toolCalls: toolCalls.map(({ toolName, input }) => ({ toolName, input })),
  finishReason,
  usage,
  totalUsage,
  providerMetadata,
  warnings,
});

const normalizedPart = ({ id, toolCallId, response, request, ...part }) => part;

const generate = (model, rest) => async (call) => normalized(await generateText(options(call, model, rest)));

/** Reads a stream. What the SDK would log as an error is raised. */
async function read(result, isEnd = () => false) {
  const parts = [];
  for await (const part of result.fullStream) {
    if (part.type === 'error') throw part.error;
    parts.push(normalizedPart(part));
    if (isEnd(part)) break;
  }
  return parts;
}

const onError = () => {};
const stream = (model, rest) => (call) => read(streamText({ ...options(call, model, rest), onError }));

const abort = (model, fetch) => async (call) => {
  const controller = new AbortController();
  const result = streamText({
    ...options(call, model, { headers: call.hold(), abortSignal: controller.signal }),
    ...(fetch && { model: MODELS[model](call.url, fetch) }),
    onError,
  });
  const parts = await read(result, (part) => part.type === 'text-delta');
  controller.abort();
  return parts;
};

const http2 = (model, use) => (call) =>
  withHttp2(call.url, (fetch) => use({ ...options(call, model), model: MODELS[model](call.url, fetch) }));

const each = (kind, make) => Object.fromEntries(Object.keys(MODELS).map((model) => [`${kind} ${model}`, make(model)]));

const calls = {
  ...each('plain', (model) => generate(model)),
  ...each('stream', (model) => stream(model)),
  ...each('tools', (model) => generate(model, { tools: TOOLS })),
  ...each('tools stream', (model) => stream(model, { tools: TOOLS })),
  'http2 plain': http2('openai chat', async (settings) => normalized(await generateText(settings))),
  'http2 stream': http2('openai chat', (settings) => read(streamText({ ...settings, onError }))),
  ...each('abort', (model) => abort(model)),
  'abort http2': (call) => withHttp2(call.url, (fetch) => abort('openai chat', fetch)(call)),
};
const rejected = [...Object.keys(MODELS).map((model) => `plain ${model}`), 'stream openai chat', 'stream anthropic'];

// A retried request fails with its last error.
await main(version('ai'), calls, rejected, (error) => error.statusCode ?? error.lastError?.statusCode);
