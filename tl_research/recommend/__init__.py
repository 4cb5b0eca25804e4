"""Did the old shop's purchases help to recommend in the new one? Candidates, choice, answer, page, model."""
