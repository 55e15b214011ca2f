# What the node needs of the machine that it is installed on, as data: `machinist install` compares it with the running
# machine before anything is erased.
{ config, lib, ... }:
let
  inherit (config.boot) initrd loader;
  disks = lib.attrValues (config.disko.devices.disk or { });
  paths = map (disk: toString disk.device);
  isKept = disk: !(disk.destroy or true);

  uefi = loader.systemd-boot.enable || (loader.grub.enable && (loader.grub.efiSupport or false));
  bios = loader.grub.enable && lib.any (device: device != "nodev") loader.grub.devices;

  modules = value: if builtins.isList value then value else lib.attrNames (lib.filterAttrs (_: on: on) value);

  inherit (config.networking) interfaces;
  networks = config.systemd.network.networks or { };
  ofInterface =
    interface:
    map (address: "${address.address}/${toString address.prefixLength}") (
      interface.ipv4.addresses ++ interface.ipv6.addresses
    );
  asksFor = network: !lib.elem (network.networkConfig.DHCP or "no") [ "no" false ];
in
{
  options.machinist.install = lib.mkOption {
    type = lib.types.raw;
    internal = true;
    readOnly = true;
    description = "What the node needs of the machine that it is installed on.";
  };

  config.machinist.install = {
    firmware =
      if uefi && bios then
        "hybrid"
      else if uefi then
        "uefi"
      else if bios then
        "bios"
      else
        null;
    disks = paths (lib.filter (disk: !isKept disk) disks);
    kept = paths (lib.filter isKept disks) ++ map (disk: disk.device) (lib.attrValues config.machinist.disk.keep);
    data = lib.mapAttrs' (
      _: disk: lib.nameValuePair disk.device disk.fileSystem
    ) config.machinist.disk.keep;
    initrdModules = modules initrd.availableKernelModules ++ modules initrd.kernelModules;
    initrdNetwork = initrd.network.enable or false;
    dhcp =
      config.networking.useDHCP
      || config.networking.networkmanager.enable or false
      || lib.any (interface: interface.useDHCP == true) (lib.attrValues interfaces)
      || lib.any asksFor (lib.attrValues networks);
    addresses = lib.filterAttrs (_: addresses: addresses != [ ]) (
      lib.mapAttrs (_: ofInterface) interfaces
      // lib.mapAttrs' (
        name: network: lib.nameValuePair (network.matchConfig.Name or name) (network.address or [ ])
      ) networks
    );
  };
}
