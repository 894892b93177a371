"""Where runs are carried out: site facts, placement, launchers, batch systems. Every batch job imports it: light."""
