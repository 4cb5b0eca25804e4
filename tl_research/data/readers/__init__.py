"""From a file of the user's to raw rows: what each cell is, and what each column is taken as."""
