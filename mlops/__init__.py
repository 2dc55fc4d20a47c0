"""Models, their training and their measurement: the part of Apaise that ML engineers work in."""
