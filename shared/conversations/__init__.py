"""Conversations: sessions, messages, and turns."""
