"""Starts the local cloud, watches over it, and stops it."""
