"""Wire codecs as state machines without I/O: bytes in, events out, and the reverse.

Nothing here opens a socket, awaits or knows the server: each codec is tested
frame by frame, and the same object serves both ends of a connection.
"""
