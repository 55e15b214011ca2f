# virtualisation.oci-containers and the part of virtualisation.podman that it needs. Only podman, run by root.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.virtualisation.oci-containers;
  quote = lib.escapeShellArg;

  option =
    type: default: description:
    mkOption { inherit type default description; };
  strings = option (types.listOf types.str) [ ];
  maybe = option (types.nullOr types.str) null;

  container =
    { name, ... }:
    {
      options = {
        autoRemoveOnStop = option types.bool true "Whether the container is removed when it ends.";
        autoStart = option types.bool true "Whether it starts at boot.";
        capabilities = option (types.lazyAttrsOf (types.nullOr types.bool)) { } "Capabilities that it has or lacks.";
        cmd = strings "Arguments for its program.";
        dependsOn = strings "Containers that must run before.";
        devices = strings "Devices that it gets.";
        entrypoint = maybe "Its program.";
        environment = option (types.attrsOf types.str) { } "Variables.";
        environmentFiles = option (types.listOf types.path) [ ] "Files with variables.";
        extraOptions = strings "More options of `run`.";
        hostname = maybe "Its host name.";
        image = mkOption {
          type = types.str;
          description = "The image.";
        };
        imageFile = option (types.nullOr types.pathInStore) null "An archive with the image.";
        imageStream = option (types.nullOr types.package) null "A program that prints an archive with the image.";
        labels = option (types.attrsOf types.str) { } "Labels.";
        log-driver = option types.str "journald" "Where its output goes.";
        login = {
          passwordFile = maybe "File with the password for the registry.";
          registry = maybe "The registry to log in to.";
          username = maybe "The name to log in with.";
        };
        networks = strings "Networks that it is in.";
        podman = option (types.nullOr (
          types.submodule {
            options = {
              sdnotify = option (types.enum [
                "conmon"
                "healthy"
                "container"
              ]) "conmon" "When it counts as started.";
              user = option types.str "root" "User that runs it.";
            };
          }
        )) null "Settings of podman.";
        ports = strings "Ports that are published.";
        preRunExtraOptions = strings "Options before `run`.";
        privileged = option types.bool false "Whether it may do everything.";
        pull = option (types.enum [
          "always"
          "missing"
          "never"
          "newer"
        ]) "missing" "When the image is fetched.";
        serviceName = option types.str "${cfg.backend}-${name}" "Name of its unit.";
        user = maybe "User inside.";
        volumes = strings "What is mounted.";
        workdir = maybe "Its working directory.";
      };
      config.podman = lib.mkIf (cfg.backend == "podman") { };
    };

  run =
    name: c:
    let
      each = flag: map (value: "${flag} ${quote value}");
      one = flag: value: lib.optional (value != null) "${flag}${quote value}";
      pairs = flag: lib.mapAttrsToList (key: value: "${flag} ${quote key}=${quote value}");
      caps = wanted: flag: map (cap: "${flag}${quote cap}") (lib.attrNames (lib.filterAttrs (_: has: has == wanted) c.capabilities));
    in
    lib.concatStringsSep " \\\n  " (
      [ "exec podman " ]
      ++ map quote c.preRunExtraOptions
      ++ [
        "run"
        "--name=${quote name}"
        "--log-driver=${c.log-driver}"
      ]
      ++ one "--entrypoint=" c.entrypoint
      ++ one "--hostname=" c.hostname
      ++ [
        "--cidfile=/run/${quote name}/ctr-id"
        "--cgroups=enabled"
        "--sdnotify=${c.podman.sdnotify}"
        "-d"
        "--replace"
      ]
      ++ pairs "-e" c.environment
      ++ each "--env-file" c.environmentFiles
      ++ each "-p" c.ports
      ++ one "-u " c.user
      ++ each "-v" c.volumes
      ++ pairs "-l" c.labels
      ++ one "-w " c.workdir
      ++ lib.optional c.privileged "--privileged"
      ++ lib.optional c.autoRemoveOnStop "--rm"
      ++ caps true "--cap-add="
      ++ caps false "--cap-drop="
      ++ map (device: "--device=${quote device}") c.devices
      ++ map (network: "--network=${quote network}") (lib.unique c.networks)
      ++ [ "--pull ${quote c.pull}" ]
      ++ map quote c.extraOptions
      ++ [ c.image ]
      ++ map quote c.cmd
    );

  service = name: c: {
    after =
      lib.optional (c.imageFile == null && c.imageStream == null) "network-online.target"
      ++ map (other: "${cfg.containers.${other}.serviceName}.service") c.dependsOn;
    wants = lib.optional (c.imageFile == null && c.imageStream == null) "network-online.target";
    requires = map (other: "${cfg.containers.${other}.serviceName}.service") c.dependsOn;
    wantedBy = lib.optional c.autoStart "multi-user.target";
    path = [ config.virtualisation.podman.package ];
    script = run name c;
    preStop = "podman stop --ignore --cidfile=/run/${quote name}/ctr-id";
    postStop = "podman rm -f --ignore --cidfile=/run/${quote name}/ctr-id";
    serviceConfig = {
      ExecStartPre = [
        "${pkgs.writeShellScript "pre-start" ''
          podman rm -f ${name} || true
          ${lib.optionalString (c.imageFile != null) "podman load -i ${c.imageFile}"}
          ${lib.optionalString (c.imageStream != null) "${c.imageStream} | podman load"}
          rm -f /run/${quote name}/ctr-id
        ''}"
      ];
      Restart = "on-failure";
      TimeoutStartSec = 0;
      TimeoutStopSec = 120;
      Delegate = true;
      Environment = "PODMAN_SYSTEMD_UNIT=%n";
      NotifyAccess = "all";
      RuntimeDirectory = name;
      Type = "notify";
      User = "root";
    };
  };
in
{
  options.virtualisation = {
    oci-containers = {
      backend = option (types.enum [
        "podman"
        "docker"
      ]) "podman" "What runs containers; nixos-lite has podman.";
      containers = option (types.attrsOf (types.submodule container)) { } "Containers that are services.";
    };
    podman = {
      enable = option types.bool false "Whether podman is there.";
      package = lib.mkPackageOption pkgs "podman" { };
    };
  };

  config = lib.mkMerge [
    { virtualisation.containers.enable = lib.mkIf config.virtualisation.podman.enable true; }
    (lib.mkIf (cfg.containers != { }) {
      assertions = [
        {
          assertion = cfg.backend == "podman";
          message = "nixos-lite has no docker: virtualisation.oci-containers.backend must be podman.";
        }
      ]
      ++ lib.mapAttrsToList (name: c: {
        assertion = c.login.registry == null && c.podman.user == "root";
        message = "nixos-lite: virtualisation.oci-containers.containers.${name} cannot log in to a registry or run without root.";
      }) cfg.containers
      ++ lib.mapAttrsToList (name: c: {
        assertion = c.imageFile == null || c.imageStream == null;
        message = "virtualisation.oci-containers.containers.${name}: You can only define one of imageFile and imageStream";
      }) cfg.containers;
      virtualisation.podman.enable = true;
      environment.systemPackages = [ config.virtualisation.podman.package ];
      systemd.services = lib.mapAttrs' (name: c: lib.nameValuePair c.serviceName (service name c)) cfg.containers;
    })
  ];
}
