"""Pareto Studio: makes a diffusion model fast on this machine and shows what the speed costs."""

__version__ = "0.1.0"
