"""The OpenAI-compatible server, one concern per module; `gaea.app.server` puts them together."""
