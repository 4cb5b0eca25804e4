"""One function per metric."""
