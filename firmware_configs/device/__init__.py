"""What a card brings to set its device up: the standard library and nothing else.

A card carries these files as they are and runs them with the system's Python, at the first boot and
for every update. `steps` says what is done and in which order, `versions` which installation is in
force, `files` how something is written so that a power cut leaves the old or the new.
"""
