"""The parts of an encoder: mixers attend to a history, scorers match a viewer with items. One variant a file."""
