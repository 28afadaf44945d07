"""Tiny Scenes: captions, the renderer that draws them, and the reader that checks them.

The bundled model is trained on pictures drawn by `render.draw` from captions
made by `grammar.sample`.  `grammar.parse` turns a caption back into its
attributes, and `reader.Reader` says how many of them a picture shows.
"""
