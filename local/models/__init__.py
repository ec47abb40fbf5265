"""The local model behind the assistant: weights from packages, the engine that runs them, and ADK's view of both."""
