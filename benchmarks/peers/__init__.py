"""The same function as others write it."""
