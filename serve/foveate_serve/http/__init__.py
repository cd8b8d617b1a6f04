"""The HTTP interface: what may come in, what is answered, and what every fault looks like."""
