"""From cells to tensors: statistics of training rows, and what they are applied to."""
