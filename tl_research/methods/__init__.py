"""Transfer methods, one per file, and the base class whose hooks they override."""
