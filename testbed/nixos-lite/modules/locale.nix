{
  config,
  lib,
  ...
}:
let
  inherit (lib) mkOption types;
  timeZone = types.addCheck types.str (s: lib.filter (c: c == " ") (lib.stringToCharacters s) == [ ]) // {
    description = "string without spaces";
  };
in
{
  options = {
    time.timeZone = mkOption {
      type = types.nullOr timeZone;
      default = null;
      description = "The time zone.";
    };
    time.hardwareClockInLocalTime = mkOption {
      type = types.bool;
      default = false;
      description = "Keeps local time in the hardware clock.";
    };
    i18n = {
      defaultLocale = mkOption {
        type = types.str;
        default = "en_US.UTF-8";
        description = "The locale.";
      };
      defaultCharset = mkOption {
        type = types.str;
        default = "UTF-8";
        description = "The character set of locales that name none.";
      };
      extraLocaleSettings = mkOption {
        type = types.attrsOf types.str;
        default = { };
        description = "More LC_ variables.";
      };
      supportedLocales = mkOption {
        type = types.listOf types.str;
        default = [ "${config.i18n.defaultLocale}/${config.i18n.defaultCharset}" ];
        defaultText = lib.literalMD "the default locale";
        description = "Locales to install; without effect here.";
      };
    };
    console = {
      enable = mkOption {
        type = types.bool;
        default = true;
        description = "Enables virtual consoles.";
      };
      keyMap = mkOption {
        type = types.either types.str types.path;
        default = "us";
        description = "The keyboard's map.";
      };
      font = mkOption {
        type = types.nullOr (types.either types.str types.path);
        default = null;
        description = "The console's font.";
      };
    };
  };

  config.environment.etc =
    lib.optionalAttrs (config.time.timeZone != null) {
      localtime = {
        source = "/usr/share/zoneinfo/${config.time.timeZone}";
        mode = "direct-symlink";
      };
    }
    // lib.optionalAttrs (config.i18n.extraLocaleSettings != { } || config.i18n.defaultLocale != "en_US.UTF-8") {
      "locale.conf".text = lib.generators.toKeyValue { } (
        { LANG = config.i18n.defaultLocale; } // config.i18n.extraLocaleSettings
      );
    };
}
