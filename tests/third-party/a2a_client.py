"""The official Python SDK of A2A as the agent that asks. It knows nothing of Counterfoil.

    a2a_client.py PLAN URL

PLAN is a JSON list of steps: ["send", text], ["stream", text], ["get"], ["cancel"], ["list"]; the
last three are about the task of the step before. Prints a JSON list with one entry for each step.
"""

import asyncio
import json
import sys
from uuid import uuid4

import httpx
from a2a.client import A2ACardResolver, ClientConfig, ClientFactory
from a2a.types.a2a_pb2 import (
    CancelTaskRequest,
    GetTaskRequest,
    ListTasksRequest,
    Message,
    Part,
    Role,
    SendMessageRequest,
)
from google.protobuf import json_format


def plain(message):
    """What the message says, without ids and times, which are new every time."""

    def strip(value):
        if isinstance(value, dict):
            gone = ("id", "taskId", "contextId", "messageId", "timestamp", "nextPageToken")
            return {name: strip(one) for name, one in value.items() if name not in gone}
        if isinstance(value, list):
            return [strip(one) for one in value]
        return value

    return strip(json_format.MessageToDict(message))


async def main(plan, url):
    answers = []
    task = None
    async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
        card = await A2ACardResolver(http, url).get_agent_card()
        answers.append({"card": json_format.MessageToDict(card)})
        clients = {
            streaming: ClientFactory(
                ClientConfig(httpx_client=http, streaming=streaming)
            ).create(card)
            for streaming in (False, True)
        }
        for what, *arguments in json.loads(plan):
            client = clients[what == "stream"]
            try:
                if what in ("send", "stream"):
                    message = Message(
                        role=Role.ROLE_USER,
                        message_id=str(uuid4()),
                        parts=[Part(text=arguments[0])],
                    )
                    events = []
                    async for event in client.send_message(SendMessageRequest(message=message)):
                        events.append(plain(event))
                        for one in (event.task.id, event.status_update.task_id):
                            task = one or task
                    answers.append({"events": events})
                elif what == "get":
                    answers.append({"task": plain(await client.get_task(GetTaskRequest(id=task)))})
                elif what == "cancel":
                    answers.append({"task": plain(await client.cancel_task(CancelTaskRequest(id=task)))})
                elif what == "list":
                    listed = await client.list_tasks(ListTasksRequest())
                    answers.append({"tasks": len(listed.tasks) > 0})
            except Exception as error:
                answers.append({"error": f"{type(error).__name__}: {error}"})
    print(json.dumps(answers))


asyncio.run(main(*sys.argv[1:]))
