"""AWS on this machine, for the proof that the template deploys and works: ministack, in an environment of its own.

It is young and imitates: what it does is no promise of AWS. It is pinned by hash, serves on 127.0.0.1 only, and nothing
that is deployed knows of it.
"""
