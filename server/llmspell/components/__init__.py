"""Components: what a cast is made of. Drivers without I/O, unaware of any script language."""
