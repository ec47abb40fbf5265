"""Slow work: long recordings, long texts, videos, exports."""
