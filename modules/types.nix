# Types and address helpers that several modules share.
{ lib }:
{
  # The model has already parsed the address; this type only excludes names and ranges from a list
  # of addresses.
  ipAddress = lib.types.strMatching "[0-9]+[.][0-9.]+|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*" // {
    description = "IPv4 or IPv6 address";
  };

  ipRange = lib.types.strMatching "[0-9a-fA-F:.]+/[0-9]+" // {
    description = "IPv4 or IPv6 range in CIDR notation";
  };

  # A key in the store is readable by every user of the machine and in every binary cache.
  secretPath =
    lib.types.addCheck lib.types.str (
      path: lib.hasPrefix "/" path && !lib.hasPrefix builtins.storeDir path
    )
    // {
      description = "absolute path outside the Nix store, as a string";
    };

  isIPv6 = lib.hasInfix ":";

  # The host part of a URL: RFC 3986 requires brackets around IPv6 addresses.
  urlHost = address: if lib.hasInfix ":" address then "[${address}]" else address;
}
