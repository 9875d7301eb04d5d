"""prospect_emu: emulated FSPS photometry, with its errors, inside Prospector fits."""
