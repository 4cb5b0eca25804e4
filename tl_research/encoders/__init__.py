"""Networks from inputs to features (n, out_features): each says which kinds of rows it takes."""
