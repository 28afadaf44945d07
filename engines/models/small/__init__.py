"""Whole models of every family with random weights, small enough to be walked through in a moment.

    families   each by its name: diffusers' own pipeline, saved as a user's folder would be
    parts      what they are made of
    pictures   families that draw or enlarge pictures
    clips      families that draw videos
    workloads  what each is asked to draw, where it is walked through

They draw noise, fast: they show that a family goes through, and say nothing of its pictures' worth.
"""
