"""Methods for label sets that differ, one file each."""
