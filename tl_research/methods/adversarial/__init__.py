"""Methods of the adversarial family, one file each."""
