"""How a method is carried out: Trainer, callbacks, resuming, stopping."""
