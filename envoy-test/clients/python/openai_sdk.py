"""The SDK of OpenAI."""

import httpx2
import openai

from calls import PROMPT, SYSTEM, TOOL, TOOL_DESCRIPTION, TOOL_PARAMETERS, main, until, until_async

CHAT = {
    "model": "gpt-5-mini",
    "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": PROMPT}],
}
TOOLS = [
    {
        "type": "function",
        "function": {"name": TOOL, "description": TOOL_DESCRIPTION, "parameters": TOOL_PARAMETERS},
    }
]
RESPONSE = {"model": "gpt-5-mini", "instructions": SYSTEM, "input": PROMPT}
RESPONSE_TOOLS = [
    {"type": "function", "name": TOOL, "description": TOOL_DESCRIPTION, "parameters": TOOL_PARAMETERS, "strict": False}
]


def client(call, **options):
    options.setdefault("default_headers", call.headers)
    return openai.OpenAI(base_url=f"{call.url}/v1", api_key="key", **options)


def async_client(call, **options):
    options.setdefault("default_headers", call.headers)
    return openai.AsyncOpenAI(base_url=f"{call.url}/v1", api_key="key", **options)


def http2(call):
    return client(call, http_client=httpx2.Client(http1=False, http2=True))


def chat(call):
    with client(call) as sdk:
        return sdk.chat.completions.create(**CHAT)


def completion(call):
    with client(call) as sdk:
        return sdk.completions.create(model="gpt-3.5-turbo-instruct", prompt=PROMPT)


def response(call):
    with client(call) as sdk:
        return sdk.responses.create(**RESPONSE)


def embeddings(call):
    with client(call) as sdk:
        return sdk.embeddings.create(model="text-embedding-3-small", input=[PROMPT])


async def chat_async(call):
    async with async_client(call) as sdk:
        return await sdk.chat.completions.create(**CHAT)


def stream(call):
    with client(call) as sdk:
        return list(sdk.chat.completions.create(**CHAT, stream=True))


def stream_with_usage(call):
    with client(call) as sdk:
        options = {"include_usage": True}
        return list(sdk.chat.completions.create(**CHAT, stream=True, stream_options=options))


def stream_helper(call):
    with client(call) as sdk:
        with sdk.chat.completions.stream(**CHAT) as events:
            return [[event.type for event in events], events.get_final_completion()]


def stream_completion(call):
    with client(call) as sdk:
        return list(sdk.completions.create(model="gpt-3.5-turbo-instruct", prompt=PROMPT, stream=True))


def stream_response(call):
    with client(call) as sdk:
        return list(sdk.responses.create(**RESPONSE, stream=True))


async def stream_async(call):
    async with async_client(call) as sdk:
        chunks = await sdk.chat.completions.create(**CHAT, stream=True)
        return [chunk async for chunk in chunks]


def tools(call):
    with client(call) as sdk:
        return sdk.chat.completions.create(**CHAT, tools=TOOLS)


def tools_stream(call):
    with client(call) as sdk:
        return list(sdk.chat.completions.create(**CHAT, tools=TOOLS, stream=True))


def tools_response(call):
    with client(call) as sdk:
        return sdk.responses.create(**RESPONSE, tools=RESPONSE_TOOLS)


def tools_response_stream(call):
    with client(call) as sdk:
        return list(sdk.responses.create(**RESPONSE, tools=RESPONSE_TOOLS, stream=True))


def http2_chat(call):
    with http2(call) as sdk:
        return sdk.chat.completions.create(**CHAT)


def http2_stream(call):
    with http2(call) as sdk:
        return list(sdk.chat.completions.create(**CHAT, stream=True))


def has_text(chunk):
    return bool(chunk.choices and chunk.choices[0].delta.content)


def abort_in(sdk):
    with sdk:
        with sdk.chat.completions.create(**CHAT, stream=True) as chunks:
            return until(chunks, has_text)


def abort(call):
    return abort_in(client(call, default_headers=call.hold()))


def abort_http2(call):
    transport = httpx2.Client(http1=False, http2=True)
    return abort_in(client(call, default_headers=call.hold(), http_client=transport))


def abort_response(call):
    with client(call, default_headers=call.hold()) as sdk:
        with sdk.responses.create(**RESPONSE, stream=True) as events:
            return until(events, lambda event: event.type == "response.output_text.delta")


async def abort_async(call):
    async with async_client(call, default_headers=call.hold()) as sdk:
        async with await sdk.chat.completions.create(**CHAT, stream=True) as chunks:
            return await until_async(chunks, has_text)


CALLS = {
    "plain chat": chat,
    "plain completion": completion,
    "plain response": response,
    "plain embeddings": embeddings,
    "plain async": chat_async,
    "stream chat": stream,
    "stream chat with usage": stream_with_usage,
    "stream chat by helper": stream_helper,
    "stream completion": stream_completion,
    "stream response": stream_response,
    "stream async": stream_async,
    "tools chat": tools,
    "tools chat stream": tools_stream,
    "tools response": tools_response,
    "tools response stream": tools_response_stream,
    "http2 chat": http2_chat,
    "http2 stream": http2_stream,
    "abort chat": abort,
    "abort http2": abort_http2,
    "abort response": abort_response,
    "abort async": abort_async,
}
REJECTED = ["plain chat", "plain response", "plain embeddings", "plain async", "stream chat", "stream async", "http2 stream"]

main(openai.__version__, CALLS, REJECTED)
