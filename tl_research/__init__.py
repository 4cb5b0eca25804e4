"""Transfer learning for e-commerce, on PyTorch Lightning."""

__version__ = "0.1.0"
