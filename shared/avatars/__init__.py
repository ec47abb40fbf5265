"""Avatars: what a person may use of them, and the sessions that use it."""
