"""Pictures of motions and of numbers; knows skeletons and NumPy only."""
