"""Views and queries of the lake, and the FOCUS export."""
