"""How it learns: recipes, training data and one trainer per part."""
