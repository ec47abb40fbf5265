"""The assistant: talking to the agent, its tools, and (with connections) actions that wait for a yes."""
