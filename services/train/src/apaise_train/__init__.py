"""Train: learns each brand's culture from its reviews."""
