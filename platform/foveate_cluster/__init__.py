"""The edge to Ray that all share: a cluster that is there already, or one of our own that goes again."""
