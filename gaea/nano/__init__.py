"""The shipped nano models, gallery and cards: data, no code."""
