"""Files and folders, here or at an address: the only code that touches them."""
