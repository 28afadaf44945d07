"""Captures: components of a model as torch.export programs, one for each structure."""
