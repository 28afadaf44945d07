"""The metrics pack: networks that judge pictures, fetched once with consent or pointed to on disk."""
