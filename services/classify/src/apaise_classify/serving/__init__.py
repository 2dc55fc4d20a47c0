"""What runs inside a replica: the engine (tensors), the pool (which revision serves whom), and the two together."""
