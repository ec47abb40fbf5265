"""The assistant: an ADK agent that runs on Agent Runtime, and on a laptop behind the same interface."""
