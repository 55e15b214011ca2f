{
  cluster = {
    name = "magi";
    operators = import ../operators.nix;
  };

  network = {
    nodes = "10.13.13.0/24";
  };

  machines = {
    none = { ip = "10.13.13.2"; disk = { }; };
    twice = { ip = "10.13.13.3"; disk.devices = [ "/dev/sda" "/dev/sda" ]; };
    uefi = { ip = "10.13.13.4"; disk = { devices = [ "/dev/sda" "/dev/sdb" ]; firmware = "uefi"; }; };
    erased = { ip = "10.13.13.5"; disk = { devices = [ "/dev/sda" ]; keep."/data".device = "/dev/sda"; }; };
    system = { ip = "10.13.13.6"; disk = { devices = [ "/dev/sda" ]; keep."/nix/store".device = "/dev/sdb"; }; };
    relative = { ip = "10.13.13.7"; disk = { devices = [ "/dev/sda" ]; keep."data/../x".device = "sdb"; }; };
    pool = { ip = "10.13.13.9"; disk = { devices = [ "/dev/sda" ]; fileSystem = "zfs"; firmware = "bios"; }; };
    words = { ip = "10.13.13.8"; disk = { devices = [ "/dev/sda" ]; fileSystem = "zsf"; firmware = "legacy"; }; };
  };
}
