"""What the world looks like: encoders, vector stores and geotagged neighbours."""
