"""The SDK of Gemini."""

from google import genai
from google.genai import types

from calls import PROMPT, SYSTEM, TOOL, TOOL_DESCRIPTION, TOOL_PARAMETERS, main, until, until_async

MODEL = "gemini-2.5-flash"
CONFIG = types.GenerateContentConfig(system_instruction=SYSTEM)
DECLARATION = types.FunctionDeclaration(
    name=TOOL, description=TOOL_DESCRIPTION, parameters_json_schema=TOOL_PARAMETERS
)
TOOLS = types.GenerateContentConfig(
    tools=[types.Tool(function_declarations=[DECLARATION])],
    automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
)


def client(call, headers=None, **options):
    if call.retries:
        options["retry_options"] = types.HttpRetryOptions()
    options = types.HttpOptions(base_url=call.url, headers=headers or call.headers, **options)
    return genai.Client(api_key="key", http_options=options)


def http2(call, headers=None):
    return client(call, headers, client_args={"http1": False, "http2": True})


def result(response):
    """Returns a response without the headers of HTTP."""
    return response.model_dump(mode="json", exclude={"sdk_http_response"})


def content_in(sdk, config=CONFIG):
    return result(sdk.models.generate_content(model=MODEL, contents=PROMPT, config=config))


def content(call):
    with client(call) as sdk:
        return content_in(sdk)


def count(call):
    with client(call) as sdk:
        return result(sdk.models.count_tokens(model=MODEL, contents=PROMPT))


async def content_async(call):
    async with client(call).aio as sdk:
        return result(await sdk.models.generate_content(model=MODEL, contents=PROMPT, config=CONFIG))


def stream_in(sdk, config=CONFIG):
    return sdk.models.generate_content_stream(model=MODEL, contents=PROMPT, config=config)


def stream(call):
    with client(call) as sdk:
        return [result(chunk) for chunk in stream_in(sdk)]


def stream_chat(call):
    with client(call) as sdk:
        chat = sdk.chats.create(model=MODEL, config=CONFIG)
        return [result(chunk) for chunk in chat.send_message_stream(PROMPT)]


async def stream_async(call):
    async with client(call).aio as sdk:
        chunks = await stream_in(sdk)
        return [result(chunk) async for chunk in chunks]


def tools(call):
    with client(call) as sdk:
        return content_in(sdk, TOOLS)


def tools_stream(call):
    with client(call) as sdk:
        return [result(chunk) for chunk in stream_in(sdk, TOOLS)]


def http2_content(call):
    with http2(call) as sdk:
        return content_in(sdk)


def http2_stream(call):
    with http2(call) as sdk:
        return [result(chunk) for chunk in stream_in(sdk)]


def abort_in(sdk):
    with sdk:
        chunks = stream_in(sdk)
        seen = until(chunks, lambda chunk: chunk.text)
        chunks.close()
        return [result(chunk) for chunk in seen]


def abort(call):
    return abort_in(client(call, call.hold()))


def abort_http2(call):
    return abort_in(http2(call, call.hold()))


async def abort_async(call):
    async with client(call, call.hold()).aio as sdk:
        chunks = await stream_in(sdk)
        seen = await until_async(chunks, lambda chunk: chunk.text)
        await chunks.aclose()
        return [result(chunk) for chunk in seen]


CALLS = {
    "plain content": content,
    "plain count": count,
    "plain async": content_async,
    "stream content": stream,
    "stream chat": stream_chat,
    "stream async": stream_async,
    "tools content": tools,
    "tools stream": tools_stream,
    "http2 content": http2_content,
    "http2 stream": http2_stream,
    "abort content": abort,
    "abort http2": abort_http2,
    "abort async": abort_async,
}
REJECTED = ["plain content", "plain count", "plain async", "stream content", "stream async", "http2 stream"]

main(genai.__version__, CALLS, REJECTED, status=lambda error: getattr(error, "code", None))
