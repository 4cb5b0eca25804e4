"""What a model is measured by, and which epoch's weights are kept."""
