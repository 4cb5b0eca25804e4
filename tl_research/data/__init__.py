"""Rows: readers of files, public data sets, splits, transforms to tensors, samplers and batches."""
