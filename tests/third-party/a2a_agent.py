"""An agent made with the official Python SDK of A2A. It knows nothing of Counterfoil.

    a2a_agent.py PORT DID

It answers what it is told, by a message or, for text that begins with `work`, by a task that comes
to its end in steps. Notes in the file DID what it was told and which extensions were asked for.
"""

import asyncio
import json
import sys

import uvicorn
from a2a.helpers import new_text_message
from a2a.server.agent_execution import AgentExecutor
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types.a2a_pb2 import (
    AgentCapabilities,
    AgentCard,
    AgentInterface,
    AgentSkill,
    Part,
    Task,
    TaskState,
    TaskStatus,
)
from google.protobuf import json_format
from starlette.applications import Starlette

PORT, DID = int(sys.argv[1]), sys.argv[2]


class Desk(AgentExecutor):
    async def execute(self, context, event_queue):
        text = context.get_user_input()
        told = {
            "text": text,
            "extensions": sorted(context.call_context.requested_extensions),
            "metadata": json_format.MessageToDict(context.message).get("metadata", {}),
            "request": dict(context.metadata),
        }
        with open(DID, "a", encoding="utf-8") as did:
            did.write(json.dumps(told) + "\n")
        if not text.startswith("work"):
            await event_queue.enqueue_event(new_text_message(f"heard: {text}"))
            return
        await event_queue.enqueue_event(
            Task(
                id=context.task_id,
                context_id=context.context_id,
                status=TaskStatus(state=TaskState.TASK_STATE_SUBMITTED),
                history=[context.message],
            )
        )
        updater = TaskUpdater(event_queue, context.task_id, context.context_id)
        await updater.start_work()
        for step in range(3):
            await updater.add_artifact([Part(text=f"step {step}")], artifact_id=f"a{step}")
            await asyncio.sleep(0)
        if text == "work and wait":
            await updater.requires_input()
        else:
            await updater.complete()

    async def cancel(self, context, event_queue):
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()


card = AgentCard(
    name="desk",
    description="answers",
    version="1",
    default_input_modes=["text/plain"],
    default_output_modes=["text/plain"],
    capabilities=AgentCapabilities(streaming=True),
    supported_interfaces=[
        AgentInterface(
            url=f"http://127.0.0.1:{PORT}/",
            protocol_binding="JSONRPC",
            protocol_version="1.0",
        )
    ],
    skills=[AgentSkill(id="answer", name="answer", description="answers", tags=["x"])],
)
handler = DefaultRequestHandler(
    agent_executor=Desk(), task_store=InMemoryTaskStore(), agent_card=card
)
app = Starlette(
    routes=[*create_agent_card_routes(card), *create_jsonrpc_routes(handler, "/", enable_v0_3_compat=True)]
)
uvicorn.run(app, host="127.0.0.1", port=PORT, log_level="warning")
