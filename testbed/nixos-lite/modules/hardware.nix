# hardware.*: declared, without effect in a container.
{
  lib,
  ...
}:
let
  flag =
    description:
    lib.mkOption {
      type = lib.types.bool;
      default = false;
      inherit description;
    };
in
{
  options.hardware = {
    enableRedistributableFirmware = flag "Whether firmware that may be redistributed is installed.";
    enableAllFirmware = flag "Whether all firmware is installed.";
    cpu.intel.updateMicrocode = flag "Whether the microcode of Intel CPUs is updated.";
    cpu.amd.updateMicrocode = flag "Whether the microcode of AMD CPUs is updated.";
  };
}
