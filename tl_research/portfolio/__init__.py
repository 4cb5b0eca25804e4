"""The best that simple learners make of old data and few labels: parts, cross-fitting, combination, gate."""
