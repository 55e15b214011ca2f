# The parts of an overlay, as `machinist generate` writes them.
{ w1 = { ip = "10.10.9.1"; subnet = "10.10.9.0/24"; }; }
