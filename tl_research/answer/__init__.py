"""Did the old files help the new one, by how much, and what to use: by resamples of the new file's labels."""
