# A machine for each layout of disks that machines.nix describes.
{
  cluster = {
    name = "disks";
    operators = import ./operators.nix;
    orchestrator = null;
  };
  network.nodes = "10.13.13.0/24";
  machines =
    let
      one = "/dev/disk/by-id/ata-1";
      two = "/dev/disk/by-id/ata-2";
      # Each has a lease for its other interfaces.
      at = number: disk: {
        ip = "10.13.13.${toString number}";
        inherit disk;
      };
    in
    {
      plain = at 2 one;
      bios = at 3 {
        devices = [ one ];
        firmware = "bios";
      };
      hybrid = at 4 {
        devices = [ one ];
        firmware = "hybrid";
      };
      mirror = at 5 {
        devices = [
          one
          two
        ];
      };
      mirror-bios = at 6 {
        devices = [
          one
          two
        ];
        firmware = "bios";
      };
      zfs = at 7 {
        devices = [ one ];
        fileSystem = "zfs";
      };
      zfs-mirror = at 8 {
        devices = [
          one
          two
        ];
        fileSystem = "zfs";
      };
      data = at 9 {
        devices = [ one ];
        keep."/var/lib/postgresql" = {
          device = "/dev/disk/by-id/ata-3-part1";
          fileSystem = "xfs";
        };
      };
    };
}
