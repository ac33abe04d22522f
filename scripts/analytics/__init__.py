"""Views and queries over the lake, and the FOCUS export."""
