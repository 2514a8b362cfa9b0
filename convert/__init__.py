"""Training, quantising, measuring and packaging models on a workstation: `mien-convert`.

The device never imports this package. What both sides must do alike (cropping, resampling,
running a .tflite file) lives in `edge` and is imported from there.
"""
