"""The webcam with another background: a camera in; a virtual camera, a window, a stream or a file out."""
