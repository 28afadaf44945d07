"""Programs that travel inside layouts, copied as they are; each runs without the Studio."""
