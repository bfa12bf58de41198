"""The official Python SDK of MCP as an agent. It knows nothing of Counterfoil.

    client.py MODE PLAN TARGET...

MODE is how the protocol revision is negotiated: `legacy`, `auto`, or a revision. PLAN is a JSON
list of steps: ["tools"], ["call", tool, arguments], ["prompt", name, arguments], ["read", uri].
TARGET is an address, or a command to run. Prints a JSON list with one entry for each step.
"""

import asyncio
import json
import sys

from mcp import Client, MCPError, StdioServerParameters


async def step(client, what, *arguments):
    if what == "tools":
        tools = await client.list_tools()
        return {"tools": [tool.name for tool in tools.tools]}
    if what == "call":
        result = await client.call_tool(*arguments)
        return {
            "is_error": bool(result.is_error),
            "text": "".join(getattr(part, "text", "") for part in result.content),
            "meta": result.meta,
        }
    if what == "prompt":
        result = await client.get_prompt(*arguments)
        return {"text": result.messages[0].content.text}
    if what == "read":
        result = await client.read_resource(*arguments)
        return {"text": result.contents[0].text}
    raise ValueError(what)


async def main(mode, plan, target):
    if target[0].startswith("http"):
        server = target[0]
    else:
        server = StdioServerParameters(command=target[0], args=target[1:])
    answers = []
    async with Client(server, mode=mode) as client:
        for one in json.loads(plan):
            try:
                answers.append(await step(client, *one))
            except MCPError as error:
                answers.append({"error": error.error.message, "data": error.error.data})
    print(json.dumps(answers))


asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
