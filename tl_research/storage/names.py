"""Names of the files in a run's folder."""

RESUME_FILE = "resume.ckpt"
PREVIOUS_FILE = "resume.previous.ckpt"
MODEL_FILE = "model.ckpt"
#: What a finished answer of `compare` is known by, beside its model.
ANSWER_FILE = "answer.json"
