"""The scenarios that the script of an SDK runs, and the document that it prints.

    python SDK.py URL SCENARIO CALLER

URL is that of a gateway, and SCENARIO one of

    calls     every call once
    rejected  the first call, which exhausts the caller's limit, then those of `rejected`
    retried   the first call twice, the second time with retries, so that it waits until the limit is reset
"""

import asyncio
import inspect
import json
import sys

PROMPT = "Say in one sentence what Kubernetes is."
SYSTEM = "You are brief."
TOOL = "get_weather"
TOOL_DESCRIPTION = "Returns the weather in a city."
TOOL_PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string", "description": "The city."}},
    "required": ["city"],
}


class Call:
    """What a call is to send: where to, and the headers by which the test finds it."""

    def __init__(self, url, caller, name, retries=False):
        self.url = url
        self.headers = {"x-user-id": caller, "x-test-id": f"{caller}/{name}"}
        self.retries = retries

    def hold(self):
        """Returns the headers with which the provider stops in the middle of a stream."""
        return {**self.headers, "x-mock-hold": "1"}


def plain(value):
    """Returns a value as JSON can have it."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {str(key): plain(member) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(member) for member in value]
    if isinstance(value, (str, int, float, type(None))):
        return value
    raise TypeError(f"no JSON: {type(value)}")


def until(chunks, is_text):
    """Returns the chunks of a stream up to the first with text."""
    seen = []
    for chunk in chunks:
        seen.append(chunk)
        if is_text(chunk):
            return seen
    raise AssertionError("the stream has no text")


async def until_async(chunks, is_text):
    """Returns the chunks of an asynchronous stream up to the first with text."""
    seen = []
    async for chunk in chunks:
        seen.append(chunk)
        if is_text(chunk):
            return seen
    raise AssertionError("the stream has no text")


def outcome(function, call, status, cause):
    """Returns what a call returns or raises."""
    try:
        result = function(call)
        if inspect.isawaitable(result):
            result = asyncio.run(result)
        return {"result": plain(result)}
    except Exception as raised:  # An SDK may raise anything.
        error = cause(raised)
        return {
            "error": {"class": type(error).__name__, "status": status(error), "message": str(error)}
        }


def main(
    version,
    calls,
    rejected,
    status=lambda error: getattr(error, "status_code", None),
    cause=lambda error: error,
):
    """Runs a scenario with these calls, by name, and prints the outcome of each.

    `rejected` are the names of those whose rejections are of interest, `status` returns the status of an error, and
    `cause` the error that another wraps.
    """
    url, scenario, caller = sys.argv[1:]
    first = next(iter(calls))
    if scenario == "calls":
        selected = {name: calls[name] for name in calls}
    elif scenario == "rejected":
        selected = {"first": calls[first], **{name: calls[name] for name in rejected}}
    else:
        selected = {"first": calls[first], "second": calls[first]}
    outcomes = {
        name: outcome(function, Call(url, caller, name, scenario == "retried"), status, cause)
        for name, function in selected.items()
    }
    print()
    print(json.dumps({"version": version, "calls": outcomes}))
