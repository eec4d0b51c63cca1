"""The SDK of AWS for the runtime of Bedrock. It signs each request with its body."""

import json

import boto3

from calls import PROMPT, SYSTEM, TOOL, TOOL_DESCRIPTION, TOOL_PARAMETERS, main, until

MODEL = "anthropic.claude-haiku-4-5-20251001-v1:0"
CONVERSE = {
    "modelId": MODEL,
    "system": [{"text": SYSTEM}],
    "messages": [{"role": "user", "content": [{"text": PROMPT}]}],
}
SPECIFICATION = {"name": TOOL, "description": TOOL_DESCRIPTION, "inputSchema": {"json": TOOL_PARAMETERS}}
TOOLS = {"tools": [{"toolSpec": SPECIFICATION}]}
INVOKE = {
    "modelId": MODEL,
    # White space that a gateway which writes the body again would not keep.
    "body": json.dumps(
        {
            "anthropic_version": "bedrock-2023-05-31",
            "max_tokens": 200,
            "messages": [{"role": "user", "content": PROMPT}],
        },
        indent=3,
    ),
}


def client(call, headers=None):
    sdk = boto3.client(
        "bedrock-runtime",
        endpoint_url=call.url,
        region_name="us-east-1",
        aws_access_key_id="key-of-tests",
        aws_secret_access_key="secret-of-tests",
    )

    def add_headers(request, **_):
        for name, value in (headers or call.headers).items():
            request.headers.add_header(name, value)

    sdk.meta.events.register("before-sign.bedrock-runtime", add_headers)
    return sdk


def result(response):
    """Returns a response without the headers of HTTP."""
    return {name: value for name, value in response.items() if name != "ResponseMetadata"}


def chunk_of(event):
    return json.loads(event["chunk"]["bytes"])


def converse(call):
    return result(client(call).converse(**CONVERSE))


def invoke(call):
    response = client(call).invoke_model(**INVOKE)
    return json.loads(response["body"].read())


def stream_converse(call):
    return list(client(call).converse_stream(**CONVERSE)["stream"])


def stream_invoke(call):
    response = client(call).invoke_model_with_response_stream(**INVOKE)
    return [chunk_of(event) for event in response["body"]]


def tools(call):
    return result(client(call).converse(**CONVERSE, toolConfig=TOOLS))


def tools_stream(call):
    return list(client(call).converse_stream(**CONVERSE, toolConfig=TOOLS)["stream"])


def abort_converse(call):
    events = client(call, call.hold()).converse_stream(**CONVERSE)["stream"]
    seen = until(events, lambda event: "contentBlockDelta" in event)
    events.close()
    return seen


def abort_invoke(call):
    events = client(call, call.hold()).invoke_model_with_response_stream(**INVOKE)["body"]
    seen = until(events, lambda event: chunk_of(event)["type"] == "content_block_delta")
    events.close()
    return [chunk_of(event) for event in seen]


def status(error):
    response = getattr(error, "response", {})
    return response.get("ResponseMetadata", {}).get("HTTPStatusCode")


CALLS = {
    "plain converse": converse,
    "plain invoke": invoke,
    "stream converse": stream_converse,
    "stream invoke": stream_invoke,
    "tools converse": tools,
    "tools stream": tools_stream,
    "abort converse": abort_converse,
    "abort invoke": abort_invoke,
}
REJECTED = ["plain converse", "plain invoke", "stream converse", "stream invoke"]

main(boto3.__version__, CALLS, REJECTED, status)
