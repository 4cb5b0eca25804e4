"""Names of the files in a run's folder."""

RESUME_FILE = "resume.ckpt"
PREVIOUS_FILE = "resume.previous.ckpt"
MODEL_FILE = "model.ckpt"
