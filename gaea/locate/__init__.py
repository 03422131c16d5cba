"""Locators: each turns what it sees into a belief over S2 cells (the design's one idea)."""
