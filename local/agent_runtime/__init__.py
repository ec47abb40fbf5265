"""Agent Runtime on a laptop: its REST interface, over the same AdkApp, with a local model behind it."""
