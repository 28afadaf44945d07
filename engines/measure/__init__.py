"""Measuring: time, memory, pictures, adherence, robustness, and what is physically possible."""
