"""The SDK of Mistral."""

import httpx2
from mistralai.client import Mistral, VERSION
from mistralai.client.utils import BackoffStrategy, RetryConfig

from calls import PROMPT, SYSTEM, TOOL, TOOL_DESCRIPTION, TOOL_PARAMETERS, main, until, until_async

CHAT = {
    "model": "mistral-small-latest",
    "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": PROMPT}],
}
TOOLS = [
    {
        "type": "function",
        "function": {"name": TOOL, "description": TOOL_DESCRIPTION, "parameters": TOOL_PARAMETERS},
    }
]
# Those of the documentation: without `retry-after` they end after two minutes.
RETRIES = RetryConfig("backoff", BackoffStrategy(500, 60_000, 1.5, 120_000), False)


def client(call, **options):
    if call.retries:
        options["retry_config"] = RETRIES
    return Mistral(api_key="key", server_url=call.url, **options)


def http2(call):
    return client(call, client=httpx2.Client(http1=False, http2=True))


def chat(call):
    with client(call) as sdk:
        return sdk.chat.complete(**CHAT, http_headers=call.headers)


def fill(call):
    with client(call) as sdk:
        return sdk.fim.complete(model="codestral-latest", prompt=PROMPT, http_headers=call.headers)


def embeddings(call):
    with client(call) as sdk:
        return sdk.embeddings.create(model="mistral-embed", inputs=[PROMPT], http_headers=call.headers)


async def chat_async(call):
    async with client(call) as sdk:
        return await sdk.chat.complete_async(**CHAT, http_headers=call.headers)


def stream(call):
    with client(call) as sdk:
        return list(sdk.chat.stream(**CHAT, http_headers=call.headers))


def stream_fill(call):
    with client(call) as sdk:
        return list(sdk.fim.stream(model="codestral-latest", prompt=PROMPT, http_headers=call.headers))


async def stream_async(call):
    async with client(call) as sdk:
        chunks = await sdk.chat.stream_async(**CHAT, http_headers=call.headers)
        return [chunk async for chunk in chunks]


def tools(call):
    with client(call) as sdk:
        return sdk.chat.complete(**CHAT, tools=TOOLS, http_headers=call.headers)


def tools_stream(call):
    with client(call) as sdk:
        return list(sdk.chat.stream(**CHAT, tools=TOOLS, http_headers=call.headers))


def http2_chat(call):
    with http2(call) as sdk:
        return sdk.chat.complete(**CHAT, http_headers=call.headers)


def http2_stream(call):
    with http2(call) as sdk:
        return list(sdk.chat.stream(**CHAT, http_headers=call.headers))


def has_text(event):
    return bool(event.data.choices[0].delta.content)


def abort(call):
    with client(call) as sdk:
        with sdk.chat.stream(**CHAT, http_headers=call.hold()) as events:
            return until(events, has_text)


def abort_http2(call):
    with http2(call) as sdk:
        with sdk.chat.stream(**CHAT, http_headers=call.hold()) as events:
            return until(events, has_text)


async def abort_async(call):
    async with client(call) as sdk:
        async with await sdk.chat.stream_async(**CHAT, http_headers=call.hold()) as events:
            return await until_async(events, has_text)


CALLS = {
    "plain chat": chat,
    "plain fill-in-the-middle": fill,
    "plain embeddings": embeddings,
    "plain async": chat_async,
    "stream chat": stream,
    "stream fill-in-the-middle": stream_fill,
    "stream async": stream_async,
    "tools chat": tools,
    "tools stream": tools_stream,
    "http2 chat": http2_chat,
    "http2 stream": http2_stream,
    "abort chat": abort,
    "abort http2": abort_http2,
    "abort async": abort_async,
}
REJECTED = ["plain chat", "plain embeddings", "plain async", "stream chat", "stream async", "http2 stream"]

main(VERSION, CALLS, REJECTED)
