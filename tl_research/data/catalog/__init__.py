"""The data sets, one per file: a configuration and a function that returns raw domains."""
