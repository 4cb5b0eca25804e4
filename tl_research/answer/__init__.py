"""Did the old files help the new one, by how much, and what to use? By resamples of the new labels, without runs."""
