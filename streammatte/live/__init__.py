"""Live matting: a camera in; a virtual camera, a window, a stream or a file out."""
