"""Methods and data sets of families that are to come, each in a file of its own that uses public names only."""
