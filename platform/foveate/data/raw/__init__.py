"""Raw files as tables, whatever their format, compression, separator or address."""
