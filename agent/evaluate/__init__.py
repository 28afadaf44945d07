"""Evaluating candidates: static, build, smoke, gate, certify."""
