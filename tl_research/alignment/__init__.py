"""Closed-form maps that bring two domains into one space; each is fitted once on whole-domain matrices."""
