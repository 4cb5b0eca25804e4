"""Methods that start from a finished run and read the target alone, one file each."""
