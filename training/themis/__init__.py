"""Making of the THEMIS dust emulator: the grain engine, its grids and their fits."""
