{
  config,
  lib,
  pkgs,
  utils,
  ...
}:
let
  inherit (lib)
    literalExpression
    mkDefault
    mkIf
    mkOption
    types
    ;
  cfg = config.users;

  nullable =
    type: description:
    mkOption {
      type = types.nullOr type;
      default = null;
      inherit description;
    };
  flag =
    default: description:
    mkOption {
      type = types.bool;
      inherit default description;
    };
  shortName =
    kind: x:
    assert
      lib.stringLength x < 32
      || abort "${kind} '${x}' is longer than 31 characters which is not allowed!";
    x;
  idRange = start: {
    options = {
      ${start} = mkOption {
        type = types.int;
        description = "The first id.";
      };
      count = mkOption {
        type = types.int;
        default = 1;
        description = "Number of ids.";
      };
    };
  };

  user =
    { name, config, ... }:
    {
      options = {
        enable = flag true "Whether the account exists.";
        name = mkOption {
          type = types.passwdEntry types.str;
          apply = shortName "Username";
          description = "The account's name.";
        };
        description = mkOption {
          type = types.passwdEntry types.str;
          default = "";
          description = "The comment field of the account.";
        };
        uid = nullable types.int "The uid; a free one if null.";
        isSystemUser = flag false "Whether this is a system account.";
        isNormalUser = flag false "Whether this is a person's account.";
        group = mkOption {
          type = types.str;
          apply = shortName "Group name";
          default = "";
          description = "The primary group.";
        };
        extraGroups = mkOption {
          type = types.listOf types.str;
          default = [ ];
          description = "More groups.";
        };
        home = mkOption {
          type = types.passwdEntry types.path;
          default = "/var/empty";
          description = "The home directory.";
        };
        homeMode = mkOption {
          type = types.strMatching "[0-7]{1,5}";
          default = "700";
          description = "The home directory's mode.";
        };
        createHome = flag false "Whether the home directory is made.";
        cryptHomeLuks = nullable types.str "A device with the home directory; without effect here.";
        pamMount = mkOption {
          type = types.attrsOf types.str;
          default = { };
          description = "Attributes of pam_mount; without effect here.";
        };
        shell = mkOption {
          type = types.nullOr (types.either types.shellPackage (types.passwdEntry types.path));
          default = pkgs.shadow;
          defaultText = literalExpression "pkgs.shadow";
          description = "The login shell.";
        };
        ignoreShellProgramCheck = flag false "Whether the shell may be one whose program option is off.";
        useDefaultShell = flag false "Whether the shell is `users.defaultUserShell`.";
        subUidRanges = mkOption {
          type = types.listOf (types.submodule (idRange "startUid"));
          default = [ ];
          description = "Subordinate uids.";
        };
        subGidRanges = mkOption {
          type = types.listOf (types.submodule (idRange "startGid"));
          default = [ ];
          description = "Subordinate gids.";
        };
        autoSubUidGidRange = flag false "Whether subordinate ids are found automatically; without effect here.";
        hashedPassword = nullable (types.passwdEntry types.str) "The hash of the password.";
        hashedPasswordFile = mkOption {
          type = types.nullOr types.str;
          default = null;
          description = "A file with the hash of the password.";
        };
        password = nullable types.str "The password; it is in the store, so for tests only.";
        initialHashedPassword = nullable (types.passwdEntry types.str) "The hash of the first password.";
        initialPassword = nullable types.str "The first password.";
        packages = mkOption {
          type = types.listOf types.package;
          default = [ ];
          description = "Packages of this user; nixos-lite adds them to the system's.";
        };
        expires = nullable (types.strMatching "[[:digit:]]{4}-[[:digit:]]{2}-[[:digit:]]{2}") "The day on which the account ends.";
        linger = nullable types.bool "Whether the user's services run without a session; without effect here.";
      };
      config = lib.mkMerge [
        {
          name = mkDefault name;
          shell = mkIf config.useDefaultShell (mkDefault cfg.defaultUserShell);
        }
        (mkIf config.isNormalUser {
          group = mkDefault "users";
          createHome = mkDefault true;
          home = mkDefault "${cfg.defaultUserHome}/${config.name}";
          homeMode = mkDefault "700";
          useDefaultShell = mkDefault true;
          isSystemUser = mkDefault false;
        })
        (mkIf (!cfg.mutableUsers && config.initialPassword != null) {
          password = mkDefault config.initialPassword;
        })
        (mkIf (!cfg.mutableUsers && config.initialHashedPassword != null) {
          hashedPassword = mkDefault config.initialHashedPassword;
        })
      ];
    };

  group =
    { name, config, ... }:
    {
      options = {
        name = mkOption {
          type = types.passwdEntry types.str;
          description = "The group's name.";
        };
        gid = nullable types.int "The gid; a free one if null.";
        members = mkOption {
          type = types.listOf (types.passwdEntry types.str);
          default = [ ];
          description = "Users in the group.";
        };
      };
      config = {
        name = mkDefault name;
        members = lib.mapAttrsToList (_: u: u.name) (
          lib.filterAttrs (_: u: u.enable && lib.elem config.name u.extraGroups) cfg.users
        );
      };
    };

  enabled = lib.filterAttrs (_: u: u.enable) cfg.users;
  unique = attr: set: lib.allUnique (lib.filter (id: id != null) (lib.mapAttrsToList (_: x: x.${attr}) set));
  groupNames = lib.mapAttrsToList (_: g: g.name) cfg.groups;
  groupless = lib.filterAttrs (_: u: u.group != "" && !lib.elem u.group groupNames) cfg.users;

  # True if an account that may change the system can log in.
  allowsLogin = hash: hash == "" || !(lib.elem hash [ null "!" "!!" "*" ]);
  canLogIn =
    name: u:
    (name == "root" || u.group == "wheel" || lib.elem "wheel" u.extraGroups || lib.elem name cfg.groups.wheel.members)
    && (
      allowsLogin u.hashedPassword
      || u.password != null
      || u.hashedPasswordFile != null
      || u.openssh.authorizedKeys.keys != [ ]
      || u.openssh.authorizedKeys.keyFiles != [ ]
    );

  # One line of tab-separated fields per account, for libexec/update-users (the machines have no
  # JSON module for Perl).
  field =
    v:
    if v == null then
      "-"
    else if builtins.isBool v then
      (if v then "1" else "0")
    else
      "=" + lib.replaceStrings [ "\\" "\t" "\n" ] [ "\\\\" "\\t" "\\n" ] (toString v);
  line = fields: lib.concatStringsSep "\t" fields + "\n";
  spec = pkgs.writeText "users-groups.tsv" (
    line [
      "mutable"
      (field cfg.mutableUsers)
    ]
    + lib.concatStrings (
      lib.mapAttrsToList (
        _: g:
        line [
          "group"
          (field g.name)
          (field g.gid)
          (field (lib.concatStringsSep "," (lib.unique g.members)))
        ]
      ) cfg.groups
    )
    + lib.concatStrings (
      lib.mapAttrsToList (
        _: u:
        line (
          [ "user" ]
          ++ map field [
            u.name
            u.uid
            u.group
            u.description
            u.home
            u.homeMode
            u.createHome
            u.isSystemUser
            (utils.toShellPath u.shell)
            u.password
            u.hashedPassword
            u.hashedPasswordFile
            u.initialPassword
            u.initialHashedPassword
            u.expires
          ]
          ++ [
            (field (lib.concatMapStringsSep "," (r: "${toString r.startUid}:${toString r.count}") u.subUidRanges))
            (field (lib.concatMapStringsSep "," (r: "${toString r.startGid}:${toString r.count}") u.subGidRanges))
          ]
        )
      ) enabled
    )
  );
in
{
  imports = [
    (lib.mkAliasOptionModule [ "users" "extraUsers" ] [ "users" "users" ])
    (lib.mkAliasOptionModule [ "users" "extraGroups" ] [ "users" "groups" ])
  ];

  options.users = {
    mutableUsers = flag true "Whether passwords and accounts may be changed on the machine.";
    allowNoPasswordLogin = flag false "Whether it is allowed that nobody can log in as root.";
    enforceIdUniqueness = flag true "Whether two users or groups may not share an id.";
    manageLingering = flag true "Whether lingering is managed; without effect here.";
    defaultUserShell = mkOption {
      type = types.either types.path types.package;
      default = "/bin/sh";
      description = "The shell of accounts that have no other.";
    };
    defaultUserHome = mkOption {
      type = types.str;
      default = "/home";
      description = "Directory of normal users' homes.";
    };
    motd = mkOption {
      type = types.lines;
      default = "";
      description = "Message of the day.";
    };
    users = mkOption {
      type = types.attrsOf (types.submodule user);
      default = { };
      description = "User accounts.";
    };
    groups = mkOption {
      type = types.attrsOf (types.submodule group);
      default = { };
      description = "Groups.";
    };
  };

  config = {
    # The gids are Debian's where it has the group: its files belong to them.
    users.groups = {
      root.gid = 0;
      wheel = { };
      users.gid = 100;
      nogroup.gid = 65534;
      adm.gid = 4;
      tty.gid = 5;
      disk.gid = 6;
      shadow.gid = 42;
      systemd-journal = { };
    };
    users.users = {
      root = {
        uid = 0;
        description = "System administrator";
        home = "/root";
        shell = mkDefault cfg.defaultUserShell;
        group = "root";
      };
      nobody = {
        uid = 65534;
        isSystemUser = true;
        description = "Unprivileged account (don't use!)";
        group = "nogroup";
      };
    };

    environment.systemPackages =
      lib.filter types.shellPackage.check (lib.mapAttrsToList (_: u: u.shell) enabled)
      ++ lib.concatMap (u: u.packages) (lib.attrValues enabled);
    environment.etc = lib.optionalAttrs (cfg.motd != "") { motd.text = cfg.motd; };

    system.activationScripts.users = {
      # /etc first: only files with an owner need accounts, and they wait for a second run.
      deps = [ ];
      text = ''
        /usr/bin/perl "$systemConfig/libexec/update-users" ${spec}
      '';
    };
    system.activationScripts.etc.deps = [ "users" ];

    assertions = [
      {
        assertion = !cfg.enforceIdUniqueness || (unique "uid" cfg.users && unique "gid" cfg.groups);
        message = "UIDs and GIDs must be unique!";
      }
      {
        assertion = groupless == { };
        message = ''
          The following users have a primary group that is undefined: ${toString (lib.attrNames groupless)}
          Hint: Add this to your NixOS configuration:
            ${lib.concatMapStringsSep "\n  " (g: "users.groups.${g} = {};") (lib.unique (lib.mapAttrsToList (_: u: u.group) groupless))}
        '';
      }
      {
        assertion =
          cfg.mutableUsers || cfg.allowNoPasswordLogin || lib.any (x: x) (lib.mapAttrsToList canLogIn cfg.users);
        message = ''
          Neither the root account nor any wheel user has a password or SSH authorized key.
          You must set one to prevent being locked out of your system.
          If you really want to be locked out of your system, set users.allowNoPasswordLogin = true;
          However you are most probably better off by setting users.mutableUsers = true; and
          manually running passwd root to set the root password.
        '';
      }
    ]
    ++ lib.concatLists (
      lib.mapAttrsToList (
        _: u:
        let
          system = u.isSystemUser || (u.uid != null && u.uid < 1000 && !u.isNormalUser);
        in
        [
          {
            assertion = builtins.match "[a-zA-Z0-9_.][a-zA-Z0-9_.-]*" u.name != null;
            message = "The username \"${u.name}\" is not valid, it does not match the regex \"[a-zA-Z0-9_.][a-zA-Z0-9_.-]*\".";
          }
          {
            assertion = u.isNormalUser && u.uid != null -> u.uid >= 1000;
            message = "A user cannot have a users.users.${u.name}.uid set below 1000 and set users.users.${u.name}.isNormalUser.";
          }
          {
            assertion = lib.xor system u.isNormalUser;
            message = "Exactly one of users.users.${u.name}.isSystemUser and users.users.${u.name}.isNormalUser must be set.\n";
          }
          {
            assertion = u.group != "";
            message = ''
              users.users.${u.name}.group is unset. This used to default to
              nogroup, but this is unsafe. For example you can create a group
              for this user with:
              users.users.${u.name}.group = "${u.name}";
              users.groups.${u.name} = {};
            '';
          }
        ]
      ) cfg.users
    );

    warnings = lib.concatMap (
      u:
      let
        set =
          [ "hashedPassword" "hashedPasswordFile" "password" ]
          ++ lib.optionals cfg.mutableUsers [ "initialHashedPassword" "initialPassword" ];
      in
      lib.optional (lib.count (name: u.${name} != null) set > 1)
        "The user '${u.name}' has multiple of the options\n`initialHashedPassword`, `hashedPassword`, `initialPassword`, `password`\n& `hashedPasswordFile` set to a non-null value.\n"
    ) (lib.attrValues cfg.users);
  };
}
