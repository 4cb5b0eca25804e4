"""From cells to tensors, by statistics of the rows that train."""
