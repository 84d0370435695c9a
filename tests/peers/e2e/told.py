"""What the Python clients share: a script of steps on the command line, a transcript of events on stdout.

A step is a JSON object; `do` names it. An event is a JSON object; `event` names it, `step` counts from 0.
"""

import asyncio
import json
import os
import sys


def steps():
    return list(enumerate(json.loads(sys.argv[2])))


def tell(event, **facts):
    print(json.dumps({"event": event, **facts}, sort_keys=True), flush=True)


def told_tools(step, listed):
    tell("tools", step=step, names=sorted(tool.name for tool in listed.tools))


def told_result(step, result):
    content = [item.model_dump(mode="json", by_alias=True, exclude_none=True) for item in result.content]
    failed = getattr(result, "is_error", getattr(result, "isError", None))
    structured = getattr(result, "structured_content", getattr(result, "structuredContent", None))
    tell("result", step=step, content=content, structured=structured, failed=bool(failed))


def on_progress(step):
    async def callback(progress, total, message):
        tell("progress", step=step, progress=progress, total=total, message=message)

    return callback


async def exists(path):
    while not os.path.exists(path):
        await asyncio.sleep(0.01)


def innermost(error):
    """The error that a task group wrapped."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def told_error(step, error):
    error = innermost(error)
    tell("error", step=step, kind=type(error).__name__, message=str(error))


def run(main):
    try:
        asyncio.run(main())
    except BaseException as error:  # noqa: BLE001: the transcript tells how it ended
        told_error(None, error)
        sys.exit(1)
