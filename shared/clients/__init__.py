"""One module for each outside system: the only places that know its wire format. Clients know no room."""
