"""The SDK of Cohere."""

from importlib.metadata import version

import cohere
import httpx

from calls import PROMPT, SYSTEM, TOOL, TOOL_DESCRIPTION, TOOL_PARAMETERS, main, until, until_async

CHAT = {
    "model": "command-a-03-2025",
    "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": PROMPT}],
}
TOOLS = [
    {
        "type": "function",
        "function": {"name": TOOL, "description": TOOL_DESCRIPTION, "parameters": TOOL_PARAMETERS},
    }
]


def client(call, **options):
    return cohere.ClientV2("key", base_url=call.url, **options)


def async_client(call):
    return cohere.AsyncClientV2("key", base_url=call.url)


def http2(call):
    return client(call, httpx_client=httpx.Client(http1=False, http2=True))


def headers(call):
    return {"additional_headers": call.headers}


def hold(call):
    return {"additional_headers": call.hold()}


def chat(call):
    with client(call) as sdk:
        return sdk.chat(**CHAT, request_options=headers(call))


def embeddings(call):
    with client(call) as sdk:
        return sdk.embed(
            model="embed-v4.0",
            input_type="search_document",
            texts=[PROMPT],
            embedding_types=["float"],
            request_options=headers(call),
        )


async def chat_async(call):
    async with async_client(call) as sdk:
        return await sdk.chat(**CHAT, request_options=headers(call))


def stream(call):
    with client(call) as sdk:
        return list(sdk.chat_stream(**CHAT, request_options=headers(call)))


async def stream_async(call):
    async with async_client(call) as sdk:
        events = sdk.chat_stream(**CHAT, request_options=headers(call))
        return [event async for event in events]


def tools(call):
    with client(call) as sdk:
        return sdk.chat(**CHAT, tools=TOOLS, request_options=headers(call))


def tools_stream(call):
    with client(call) as sdk:
        return list(sdk.chat_stream(**CHAT, tools=TOOLS, request_options=headers(call)))


def http2_chat(call):
    with http2(call) as sdk:
        return sdk.chat(**CHAT, request_options=headers(call))


def http2_stream(call):
    with http2(call) as sdk:
        return list(sdk.chat_stream(**CHAT, request_options=headers(call)))


def has_text(event):
    return event.type == "content-delta"


def abort_in(sdk, call):
    with sdk:
        events = sdk.chat_stream(**CHAT, request_options=hold(call))
        seen = until(events, has_text)
        events.close()
        return seen


def abort(call):
    return abort_in(client(call), call)


def abort_http2(call):
    return abort_in(http2(call), call)


async def abort_async(call):
    async with async_client(call) as sdk:
        events = sdk.chat_stream(**CHAT, request_options=hold(call))
        seen = await until_async(events, has_text)
        await events.aclose()
        return seen


CALLS = {
    "plain chat": chat,
    "plain embeddings": embeddings,
    "plain async": chat_async,
    "stream chat": stream,
    "stream async": stream_async,
    "tools chat": tools,
    "tools stream": tools_stream,
    "http2 chat": http2_chat,
    "http2 stream": http2_stream,
    "abort chat": abort,
    "abort http2": abort_http2,
    "abort async": abort_async,
}
REJECTED = ["plain chat", "plain embeddings", "stream chat", "stream async", "http2 stream"]

main(version("cohere"), CALLS, REJECTED)
