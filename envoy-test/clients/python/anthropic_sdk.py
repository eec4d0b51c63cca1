"""The SDK of Anthropic."""

import anthropic
import httpx2

from calls import PROMPT, SYSTEM, TOOL, TOOL_DESCRIPTION, TOOL_PARAMETERS, main, until, until_async

MESSAGE = {
    "model": "claude-haiku-4-5",
    "max_tokens": 200,
    "system": SYSTEM,
    "messages": [{"role": "user", "content": PROMPT}],
}
TOOLS = [{"name": TOOL, "description": TOOL_DESCRIPTION, "input_schema": TOOL_PARAMETERS}]


def client(call, **options):
    options.setdefault("default_headers", call.headers)
    return anthropic.Anthropic(base_url=call.url, api_key="key", **options)


def async_client(call, **options):
    options.setdefault("default_headers", call.headers)
    return anthropic.AsyncAnthropic(base_url=call.url, api_key="key", **options)


def http2(call):
    return client(call, http_client=httpx2.Client(http1=False, http2=True))


def message(call):
    with client(call) as sdk:
        return sdk.messages.create(**MESSAGE)


def count(call):
    with client(call) as sdk:
        return sdk.messages.count_tokens(model=MESSAGE["model"], messages=MESSAGE["messages"])


async def message_async(call):
    async with async_client(call) as sdk:
        return await sdk.messages.create(**MESSAGE)


def stream(call):
    with client(call) as sdk:
        return list(sdk.messages.create(**MESSAGE, stream=True))


def stream_helper(call):
    with client(call) as sdk:
        with sdk.messages.stream(**MESSAGE) as events:
            return ["".join(events.text_stream), events.get_final_message()]


async def stream_async(call):
    async with async_client(call) as sdk:
        events = await sdk.messages.create(**MESSAGE, stream=True)
        return [event async for event in events]


def tools(call):
    with client(call) as sdk:
        return sdk.messages.create(**MESSAGE, tools=TOOLS)


def tools_stream(call):
    with client(call) as sdk:
        return list(sdk.messages.create(**MESSAGE, tools=TOOLS, stream=True))


def http2_message(call):
    with http2(call) as sdk:
        return sdk.messages.create(**MESSAGE)


def http2_stream(call):
    with http2(call) as sdk:
        return list(sdk.messages.create(**MESSAGE, stream=True))


def has_text(event):
    return event.type == "content_block_delta"


def abort_in(sdk):
    with sdk:
        with sdk.messages.create(**MESSAGE, stream=True) as events:
            return until(events, has_text)


def abort(call):
    return abort_in(client(call, default_headers=call.hold()))


def abort_http2(call):
    transport = httpx2.Client(http1=False, http2=True)
    return abort_in(client(call, default_headers=call.hold(), http_client=transport))


async def abort_async(call):
    async with async_client(call, default_headers=call.hold()) as sdk:
        async with await sdk.messages.create(**MESSAGE, stream=True) as events:
            return await until_async(events, has_text)


CALLS = {
    "plain message": message,
    "plain count": count,
    "plain async": message_async,
    "stream message": stream,
    "stream by helper": stream_helper,
    "stream async": stream_async,
    "tools message": tools,
    "tools stream": tools_stream,
    "http2 message": http2_message,
    "http2 stream": http2_stream,
    "abort message": abort,
    "abort http2": abort_http2,
    "abort async": abort_async,
}
REJECTED = ["plain message", "plain count", "plain async", "stream message", "stream by helper", "stream async", "http2 stream"]

main(anthropic.__version__, CALLS, REJECTED)
