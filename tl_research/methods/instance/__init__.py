"""Methods of the instance family."""
