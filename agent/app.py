"""The assistant as Agent Runtime runs it: one ADK agent inside an AdkApp that keeps nothing between turns."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from agentplatform.frameworks.adk import AdkApp
from google.adk.agents import LlmAgent
from google.adk.models import BaseLlm
from google.adk.sessions import InMemorySessionService
from google.genai import types

from agent.instruction import INSTRUCTION
from agent.tools import TOOLS

NAME = "oprina"
MAX_REPLY_TOKENS = 600


class Assistant(AdkApp):  # type: ignore[misc]
    """An AdkApp whose only operation is a turn: the caller brings the history and gets the reply.

    The inherited session operations are not registered: sessions in the memory of one instance would be lost on the
    next one, and the product keeps its conversations itself.
    """

    def register_operations(self) -> dict[str, list[str]]:
        """Class methods of the resource, by API mode, as Agent Runtime's `spec.classMethods` lists them."""
        return {"async_stream": ["async_stream_query"]}

    async def async_stream_query(
        self,
        *,
        message: str | dict[str, Any],
        user_id: str,
        session_events: list[dict[str, Any]] | None = None,
        run_config: dict[str, Any] | None = None,
        state_delta: dict[str, Any] | None = None,
    ) -> AsyncIterator[dict[str, Any]]:
        """Answer one message, given the conversation before it.

        Args:
            message: what the person said: text, or a Content as a dictionary.
            user_id: an opaque id of the person.
            session_events: the messages before, oldest first: {author, invocation_id, content: {role, parts}}.
            run_config: ADK's RunConfig; streaming_mode "sse" streams fragments as they are written, and
                model_input_context carries notes about the person that are kept nowhere.
            state_delta: what the tools may read during this turn; keys begin with `temp:`.

        Yields:
            ADK events as dictionaries. Partial events are fragments of the final one, which repeats the whole text.
        """
        # Given a list, even an empty one, AdkApp deletes the session it makes as soon as the stream ends.
        stream = super().async_stream_query(
            message=message,
            user_id=user_id,
            session_events=session_events or [],
            run_config=run_config,
            state_delta=state_delta,
        )
        try:
            async for event in stream:
                yield event
        finally:
            await stream.aclose()


def build_agent(model: str | BaseLlm) -> LlmAgent:
    """The agent over `model`: the name of a Gemini model, or a model object."""
    return LlmAgent(
        name=NAME,
        description="A voice assistant that answers in short spoken sentences.",
        model=model,
        instruction=INSTRUCTION,
        tools=list(TOOLS),
        generate_content_config=types.GenerateContentConfig(
            temperature=0.3,
            max_output_tokens=MAX_REPLY_TOKENS,
            thinking_config=types.ThinkingConfig(thinking_level=types.ThinkingLevel.LOW),
        ),
    )


def build_app(model: str | BaseLlm) -> Assistant:
    """The application over `model`, ready to be queried; what it needs is set up at the first query."""
    return Assistant(agent=build_agent(model), app_name=NAME, session_service_builder=InMemorySessionService)
