"""Methods of the feature family, one file each."""
