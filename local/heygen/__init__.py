"""HeyGen's interface of version 3: videos of avatars, rendered while one waits, and webhooks that tell when."""
