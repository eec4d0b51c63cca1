"""The SDK of Ollama."""

from importlib.metadata import version

import ollama

from calls import PROMPT, SYSTEM, TOOL, TOOL_DESCRIPTION, TOOL_PARAMETERS, main, until, until_async

CHAT = {
    "model": "llama3.2",
    "messages": [{"role": "system", "content": SYSTEM}, {"role": "user", "content": PROMPT}],
}
TOOLS = [
    {
        "type": "function",
        "function": {"name": TOOL, "description": TOOL_DESCRIPTION, "parameters": TOOL_PARAMETERS},
    }
]


def client(call, headers=None, **options):
    return ollama.Client(host=call.url, headers=headers or call.headers, **options)


def async_client(call, headers=None):
    return ollama.AsyncClient(host=call.url, headers=headers or call.headers)


def http2(call, headers=None):
    return client(call, headers, http1=False, http2=True)


def chat(call):
    return client(call).chat(**CHAT)


def generate(call):
    return client(call).generate(model="llama3.2", prompt=PROMPT)


def embeddings(call):
    return client(call).embed(model="all-minilm", input=[PROMPT])


async def chat_async(call):
    return await async_client(call).chat(**CHAT)


def stream(call):
    return list(client(call).chat(**CHAT, stream=True))


def stream_generate(call):
    return list(client(call).generate(model="llama3.2", prompt=PROMPT, stream=True))


async def stream_async(call):
    return [chunk async for chunk in await async_client(call).chat(**CHAT, stream=True)]


def tools(call):
    return client(call).chat(**CHAT, tools=TOOLS)


def tools_stream(call):
    return list(client(call).chat(**CHAT, tools=TOOLS, stream=True))


def http2_chat(call):
    return http2(call).chat(**CHAT)


def http2_stream(call):
    return list(http2(call).chat(**CHAT, stream=True))


def has_text(chunk):
    return bool(chunk.message.content)


def abort_in(sdk):
    chunks = sdk.chat(**CHAT, stream=True)
    seen = until(chunks, has_text)
    chunks.close()
    return seen


def abort(call):
    return abort_in(client(call, call.hold()))


def abort_http2(call):
    return abort_in(http2(call, call.hold()))


async def abort_async(call):
    chunks = await async_client(call, call.hold()).chat(**CHAT, stream=True)
    seen = await until_async(chunks, has_text)
    await chunks.aclose()
    return seen


CALLS = {
    "plain chat": chat,
    "plain generate": generate,
    "plain embeddings": embeddings,
    "plain async": chat_async,
    "stream chat": stream,
    "stream generate": stream_generate,
    "stream async": stream_async,
    "tools chat": tools,
    "tools stream": tools_stream,
    "http2 chat": http2_chat,
    "http2 stream": http2_stream,
    "abort chat": abort,
    "abort http2": abort_http2,
    "abort async": abort_async,
}
REJECTED = ["plain chat", "plain generate", "plain embeddings", "plain async", "stream chat", "stream async", "http2 stream"]

main(version("ollama"), CALLS, REJECTED)
