"""Which rows a step sees: plans of batches, and the loader that gathers them."""
