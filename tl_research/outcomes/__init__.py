"""What is predicted: a class or a number."""
