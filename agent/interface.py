"""The assistant's one operation, as Agent Runtime lists it in a resource's `spec.classMethods`."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

OPERATION = "async_stream_query"


class Query(BaseModel):
    """The `input` of a streamQuery call of `async_stream_query`."""

    model_config = ConfigDict(extra="forbid")

    message: str | dict[str, Any] = Field(description="What the person said: text, or a Content.")
    user_id: str = Field(min_length=1, description="An opaque id of the person.")
    session_events: list[dict[str, Any]] = Field(
        default_factory=list,
        description="The messages before, oldest first: {author, invocation_id, content: {role, parts}}.",
    )
    run_config: dict[str, Any] | None = Field(default=None, description="ADK's RunConfig.")
    state_delta: dict[str, Any] | None = Field(
        default=None, description="What tools may read during this turn; keys begin with temp:."
    )


def class_methods() -> list[dict[str, Any]]:
    """What a resource that runs the assistant offers, in the form of `ReasoningEngineSpec.class_methods`."""
    schema = Query.model_json_schema()
    return [
        {
            "name": OPERATION,
            "api_mode": "async_stream",
            "description": "Answer one message, given the conversation before it, as a stream of ADK events.",
            "parameters": {
                "type": "object",
                "properties": schema["properties"],
                "required": schema["required"],
            },
        }
    ]
