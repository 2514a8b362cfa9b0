"""Expression recognition on the device: camera in, emotion events out."""

__version__ = "0.1.0"
