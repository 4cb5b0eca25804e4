"""Small trainable parts hung on the layers of a frozen network; the network's own parameters keep their names."""
