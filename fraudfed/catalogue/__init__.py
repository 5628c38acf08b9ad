"""What everybody may know of a run before any data are read: recipes, presets, what cannot work."""
