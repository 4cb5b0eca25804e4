"""Methods that choose among others by themselves."""
