def make_logger(*a): return None
def log_summary(*a): pass
