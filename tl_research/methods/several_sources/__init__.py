"""Methods of several sources, one file each."""
