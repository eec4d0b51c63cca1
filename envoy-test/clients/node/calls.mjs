// The scenarios that the script of an SDK runs, and the document that it prints.
//
//     node SDK.mjs URL SCENARIO CALLER
//
// URL is that of a gateway, and SCENARIO one of
//
//     calls     every call once
//     rejected  the first call, which exhausts the caller's limit, then those of `rejected`
//     retried   the first call twice, the second time with retries, so that it waits until the limit is reset

import { readFileSync } from 'node:fs';
import { H2CClient, fetch as http2Fetch } from 'undici';

export const PROMPT = 'Say in one sentence what Kubernetes is.';
export const SYSTEM = 'You are brief.';
export const TOOL = 'get_weather';
export const TOOL_DESCRIPTION = 'Returns the weather in a city.';
export const TOOL_PARAMETERS = {
  type: 'object',
  properties: { city: { type: 'string', description: 'The city.' } },
  required: ['city'],
};

/** What a call is to send: where to, and the headers by which the test finds it. */
class Call {
  constructor(url, caller, name) {
    this.url = url;
    this.headers = { 'x-user-id': caller, 'x-test-id': `${caller}/${name}` };
  }

  /** Returns the headers with which the provider stops in the middle of a stream. */
  hold() {
    return { ...this.headers, 'x-mock-hold': '1' };
  }
}

/** Returns the items of a stream. */
export async function all(stream) {
  const items = [];
  for await (const item of stream) items.push(item);
  return items;
}

/** Returns the items of a stream up to the first with text, after which the stream is aborted. */
export async function until(stream, hasText) {
  const items = [];
  for await (const item of stream) {
    items.push(item);
    if (hasText(item)) return items;
  }
  throw new Error('the stream has no text');
}

/** Calls a function with a `fetch` that uses HTTP/2 to this URL. */
export async function withHttp2(url, call) {
  const dispatcher = new H2CClient(url);
  try {
    return await call((input, init) => http2Fetch(input, { ...init, dispatcher }));
  } finally {
    await dispatcher.destroy();
  }
}

/** Returns the version of a package. */
export function version(name) {
  const manifest = new URL(`node_modules/${name}/package.json`, import.meta.url);
  return JSON.parse(readFileSync(manifest, 'utf8')).version;
}

async function outcome(call, context, status) {
  try {
    return { result: JSON.parse(JSON.stringify((await call(context)) ?? null)) };
  } catch (error) {
    const name = error.name === 'Error' ? error.constructor.name : error.name;
    return { error: { class: name, status: status(error) ?? null, message: String(error.message) } };
  }
}

/**
 * Runs a scenario with these calls, by name, and prints the outcome of each. `rejected` are the names of those whose
 * rejections are of interest, and `status` returns the status of an error.
 */
export async function main(version, calls, rejected, status = (error) => error.status) {
  const [url, scenario, caller] = process.argv.slice(2);
  const [first] = Object.values(calls);
  const selected =
    scenario === 'calls'
      ? calls
      : scenario === 'rejected'
        ? { first, ...Object.fromEntries(rejected.map((name) => [name, calls[name]])) }
        : { first, second: first };
  const outcomes = {};
  for (const [name, call] of Object.entries(selected)) {
    outcomes[name] = await outcome(call, new Call(url, caller, name), status);
  }
  console.log(`\n${JSON.stringify({ version, calls: outcomes })}`);
}
