"""Figures, each as a ratio against a baseline in the same run. `make bench` prints them all."""
