"""Methods of the self-training family, one file each."""
