"""Administers the keys that sign access tokens."""
