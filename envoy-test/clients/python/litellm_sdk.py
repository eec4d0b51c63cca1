"""The SDK of LiteLLM, which calls the APIs of all providers."""

import os

# The prices of models are those of the package, not downloaded ones.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

from importlib.metadata import version

import httpx2
import litellm
import openai

from calls import PROMPT, SYSTEM, TOOL, TOOL_DESCRIPTION, TOOL_PARAMETERS, main, plain, until, until_async

litellm.suppress_debug_info = True
litellm.telemetry = False

MESSAGES = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": PROMPT}]
TOOLS = [
    {
        "type": "function",
        "function": {"name": TOOL, "description": TOOL_DESCRIPTION, "parameters": TOOL_PARAMETERS},
    }
]


def openai_options(call):
    return {"model": "openai/gpt-5-mini", "api_base": f"{call.url}/v1", "api_key": "key"}


def anthropic_options(call):
    return {"model": "anthropic/claude-haiku-4-5", "api_base": call.url, "api_key": "key"}


def gemini_options(call):
    base = f"{call.url}/v1beta/models/gemini-2.5-flash"
    return {"model": "gemini/gemini-2.5-flash", "api_base": base, "api_key": "key"}


def bedrock_options(call):
    return {
        "model": "bedrock/converse/anthropic.claude-haiku-4-5-20251001-v1:0",
        "aws_bedrock_runtime_endpoint": call.url,
        "aws_region_name": "us-east-1",
        "aws_access_key_id": "key-of-tests",
        "aws_secret_access_key": "secret-of-tests",
    }


PROVIDERS = {
    "openai": openai_options,
    "anthropic": anthropic_options,
    "gemini": gemini_options,
    "bedrock": bedrock_options,
}


def normalized(value):
    """Returns a result without what LiteLLM itself makes up: identifiers and times."""
    if isinstance(value, dict):
        return {key: normalized(member) for key, member in value.items() if key not in ("id", "created")}
    if isinstance(value, list):
        return [normalized(member) for member in value]
    return value


def result(response):
    return normalized(plain(response))


def complete(provider, **options):
    def call_provider(call):
        settings = {**PROVIDERS[provider](call), **options}
        return result(litellm.completion(messages=MESSAGES, extra_headers=call.headers, **settings))

    return call_provider


def stream(provider, **options):
    def call_provider(call):
        settings = {**PROVIDERS[provider](call), **options}
        chunks = litellm.completion(messages=MESSAGES, extra_headers=call.headers, stream=True, **settings)
        return [result(chunk) for chunk in chunks]

    return call_provider


def complete_async(provider):
    async def call_provider(call):
        settings = PROVIDERS[provider](call)
        return result(await litellm.acompletion(messages=MESSAGES, extra_headers=call.headers, **settings))

    return call_provider


def stream_async(provider):
    async def call_provider(call):
        settings = PROVIDERS[provider](call)
        chunks = await litellm.acompletion(
            messages=MESSAGES, extra_headers=call.headers, stream=True, **settings
        )
        return [result(chunk) async for chunk in chunks]

    return call_provider


def http2(call, **options):
    transport = httpx2.Client(http1=False, http2=True)
    sdk = openai.OpenAI(base_url=f"{call.url}/v1", api_key="key", http_client=transport)
    return litellm.completion(
        model="openai/gpt-5-mini", messages=MESSAGES, extra_headers=call.headers, client=sdk, **options
    )


def http2_complete(call):
    return result(http2(call))


def http2_stream(call):
    return [result(chunk) for chunk in http2(call, stream=True)]


def has_text(chunk):
    return bool(chunk.choices and chunk.choices[0].delta.content)


def abort(call):
    settings = openai_options(call)
    chunks = litellm.completion(messages=MESSAGES, extra_headers=call.hold(), stream=True, **settings)
    seen = until(chunks, has_text)
    chunks.completion_stream.close()
    return [result(chunk) for chunk in seen]


async def abort_async(call):
    settings = openai_options(call)
    chunks = await litellm.acompletion(messages=MESSAGES, extra_headers=call.hold(), stream=True, **settings)
    seen = await until_async(chunks, has_text)
    await chunks.aclose()
    return [result(chunk) for chunk in seen]


CALLS = {
    **{f"plain {name}": complete(name) for name in PROVIDERS},
    "plain async openai": complete_async("openai"),
    "plain async anthropic": complete_async("anthropic"),
    **{f"stream {name}": stream(name) for name in PROVIDERS},
    "stream async openai": stream_async("openai"),
    "stream async anthropic": stream_async("anthropic"),
    **{f"tools {name}": complete(name, tools=TOOLS) for name in PROVIDERS},
    "tools stream openai": stream("openai", tools=TOOLS),
    "tools stream anthropic": stream("anthropic", tools=TOOLS),
    "http2 complete": http2_complete,
    "http2 stream": http2_stream,
    "abort openai": abort,
    "abort async": abort_async,
}
REJECTED = [
    *(f"plain {name}" for name in PROVIDERS),
    "plain async openai",
    *(f"stream {name}" for name in PROVIDERS),
    "stream async openai",
]



def cause(error):
    """Returns the error itself: what is raised while a stream is read is wrapped."""
    return getattr(error, "original_exception", None) or error


main(version("litellm"), CALLS, REJECTED, cause=cause)
