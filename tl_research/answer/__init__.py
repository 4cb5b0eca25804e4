"""Did the old files help the new one, by how much, and what to use: without runs, by resamples of the new file's labels."""
