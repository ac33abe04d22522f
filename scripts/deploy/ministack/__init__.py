"""AWS on this machine, for the proof that the template deploys and works: ministack, in its own environment.

It is a young imitation: its behaviour is no guarantee of AWS's. It is pinned by hash, serves on 127.0.0.1 only, and no
deployed code refers to it.
"""
