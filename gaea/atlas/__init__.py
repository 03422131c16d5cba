"""The map tables that :mod:`gaea.places` looks up, computed by ``gaea.finetune.atlas``: data, no code."""
