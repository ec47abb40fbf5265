"""Supabase's database on a laptop: a real PostgreSQL, a real PostgREST, and the front that Supabase puts before it."""
