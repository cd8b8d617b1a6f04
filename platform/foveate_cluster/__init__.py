"""The edge to Ray that training, tuning and serving share: a cluster that is there already, or one of our own that goes again."""
