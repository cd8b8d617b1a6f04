"""What an encoder is made of: mixers weigh a history, scorers match a viewer with items. One variant a file."""
