"""LiveAvatar: realtime avatars, over their REST interface and the WebSocket of LITE sessions."""
