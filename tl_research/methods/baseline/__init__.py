"""Methods of the baseline family, one file each."""
