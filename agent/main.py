"""The entry point Agent Runtime imports: `app` over the Gemini model that AGENT_MODEL names."""

from __future__ import annotations

from agent.app import build_app
from shared.runtime.settings import Settings, load


class AgentSettings(Settings):
    agent_model: str = "gemini-3.5-flash"


app = build_app(load(AgentSettings).agent_model)
