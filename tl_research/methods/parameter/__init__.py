"""Methods of the parameter family, one file each."""
