"""Use cases of the assistant room."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from shared.assistant import rules
from shared.assistant.models import AgentStep, PersonContext, SaidBefore
from shared.clients import agent_runtime
from shared.runtime import clock


async def think(
    person_id: str, said: str, history: Sequence[SaidBefore], person: PersonContext, capability: str
) -> AsyncGenerator[AgentStep]:
    """Let the agent answer; its steps as they come.

    Raises:
        OprinaError: the agent is away, its quota is used up, or it broke off in the middle.
    """
    arguments = rules.query(person_id, said, history, person, clock.now(), capability)
    reader = rules.EventReader()
    async with aclosing(agent_runtime.stream_query(arguments)) as events:
        async for event in events:
            for step in reader.read(event):
                yield step
