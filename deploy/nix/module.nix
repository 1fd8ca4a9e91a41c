# services.hereabouts: settings as Nix values, checked by the program itself when the system is built.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.services.hereabouts;
  format = pkgs.formats.yaml { };
  inherit (lib)
    mkEnableOption
    mkIf
    mkOption
    types
    ;

  # A setting that is null is not set.
  settings = lib.filterAttrsRecursive (_: value: value != null) cfg.settings;
  written = format.generate "hereabouts-unchecked.yaml" settings;

  # A wrong setting fails the build of the system, with the same words as `hereabouts check`. Secrets are not looked at:
  # they are not here yet.
  file = pkgs.runCommand "hereabouts.yaml" { } ''
    ${lib.getExe cfg.package} check ${written}
    cp ${written} $out
  '';

  # The ports that the settings use: those of datagrams, and those of connections.
  serves = settings.role != "client";
  methods =
    settings.discovery.methods or [
      "multicast"
      "broadcast"
      "mdns"
    ];
  usesMdns =
    lib.elem "mdns" methods
    || lib.any (target: target.type or null == "mdns") (settings.publish or [ ]);
  compat = settings.compat or { };
  udpPorts = lib.unique (
    [ settings.listen.port ]
    ++ lib.optional (lib.elem "multicast" methods) (settings.discovery.multicast.port or 24373)
    ++ lib.optional (lib.elem "broadcast" methods) (settings.discovery.broadcast.port or 24373)
    ++ lib.optional usesMdns 5353
    ++ lib.optional (serves && compat ? pydiscover) (compat.pydiscover.port or 50000)
    ++ lib.optional (serves && compat ? dynip) (compat.dynip.port or 28630)
    ++ lib.optional (!serves && compat ? terminals) (compat.terminals.port or 9998)
  );
  # Clients open connections and take none; a base of terminals takes theirs.
  tcpPorts = lib.unique (
    lib.optional serves settings.listen.port
    ++ lib.optional (serves && compat ? terminals) (compat.terminals.port or 9998)
  );
in
{
  options.services.hereabouts = {
    enable = mkEnableOption "hereabouts, which knows where machines are";

    package = mkOption {
      type = types.package;
      description = "The package that runs.";
    };

    settings = mkOption {
      default = { };
      example = {
        role = "client";
        node.labels.site = "home";
        discovery.servers = [ "hub.example.org:24373" ];
      };
      description = ''
        The configuration, with the keys of `hereabouts.yaml`; `hereabouts schema` describes all of them. What is not listed
        below is free, and checked when the system is built. No secret belongs here: the Nix store can be read by
        everyone. See `credentials`.
      '';
      type = types.submodule {
        freeformType = format.type;
        options = {
          role = mkOption {
            type = types.enum [
              "client"
              "server"
              "both"
            ];
            default = "both";
            description = "Whether this machine looks for servers, keeps the registry, or does both.";
          };
          node.name = mkOption {
            type = types.nullOr types.str;
            default = if config.networking.hostName == "" then null else config.networking.hostName;
            defaultText = "config.networking.hostName";
            description = "The name of this machine on its channel; null for the name that the machine has when it starts.";
          };
          channel.name = mkOption {
            type = types.str;
            default = "home";
            description = "Machines with one channel name and one key find each other.";
          };
          listen.port = mkOption {
            type = types.port;
            default = 24373;
            description = "The port of UDP and TCP.";
          };
        };
      };
    };

    credentials = mkOption {
      type = types.attrsOf types.str;
      default = { };
      example = {
        "channel.key" = "/run/secrets/hereabouts.key";
      };
      description = ''
        Key files of this machine (absolute paths, outside of the store), by the name under which the service finds them in
        `$CREDENTIALS_DIRECTORY`. Unless `settings.channel.keys` is set, all of them are keys of the channel, in the order of
        their names. Without any, the service makes a key of its own at its first start.
      '';
    };

    openFirewall = mkOption {
      type = types.bool;
      default = false;
      description = ''
        Whether the firewall lets in what the settings use: the port of datagrams, the ports of multicast, broadcast and
        multicast DNS, those of legacy protocols, and on servers the port of sessions (TCP). Without it, queries of other
        machines are not received.
      '';
    };
  };

  config = mkIf cfg.enable {
    assertions = [
      {
        assertion = lib.all (path: !lib.hasPrefix builtins.storeDir path) (lib.attrValues cfg.credentials);
        message = "services.hereabouts.credentials: a key in the Nix store can be read by everyone; name a file outside of it.";
      }
      {
        assertion = lib.all (lib.hasPrefix "/") (lib.attrValues cfg.credentials);
        message = "services.hereabouts.credentials: a path of a key file is absolute, as /run/secrets/hereabouts.key.";
      }
    ];

    services.hereabouts.settings = mkIf (cfg.credentials != { }) {
      channel.keys = lib.mkDefault (
        # Commands that root runs have no such variable, and find the keys of the running service.
        map (name: { file = "\${CREDENTIALS_DIRECTORY:-/run/credentials/hereabouts.service}/${name}"; }) (
          lib.attrNames cfg.credentials
        )
      );
    };

    environment.systemPackages = [ cfg.package ];
    environment.etc."hereabouts/hereabouts.yaml".source = file;

    networking.firewall = mkIf cfg.openFirewall {
      allowedUDPPorts = udpPorts;
      allowedTCPPorts = tcpPorts;
    };

    # As deploy/systemd/hereabouts.service, whose comments explain why.
    systemd.services.hereabouts = {
      description = "Where machines are: sealed discovery and registry";
      wantedBy = [ "multi-user.target" ];
      after = [ "network.target" ];
      restartTriggers = [ file ];
      # A system's own values replace each of these.
      serviceConfig = lib.mapAttrs (_: lib.mkDefault) {
        Type = "notify";
        ExecStart = "${lib.getExe cfg.package} run --config ${file}";
        TimeoutStopSec = "15s";
        Restart = "on-failure";
        RestartSec = "2s";
        RestartPreventExitStatus = 64;
        WatchdogSec = "30s";

        LoadCredential = lib.mapAttrsToList (name: path: "${name}:${path}") cfg.credentials;
        DynamicUser = true;
        User = "hereabouts";
        StateDirectory = "hereabouts";
        StateDirectoryMode = "0700";
        UMask = "0077";

        CapabilityBoundingSet = "";
        AmbientCapabilities = "";
        NoNewPrivileges = true;
        ProtectSystem = "strict";
        ProtectHome = true;
        PrivateTmp = true;
        PrivateDevices = true;
        PrivateUsers = true;
        PrivateIPC = true;
        PrivateMounts = true;
        DevicePolicy = "closed";
        ProtectHostname = true;
        ProtectClock = true;
        ProtectKernelTunables = true;
        ProtectKernelModules = true;
        ProtectKernelLogs = true;
        ProtectControlGroups = true;
        ProtectProc = "invisible";
        RestrictNamespaces = true;
        RestrictRealtime = true;
        RestrictSUIDSGID = true;
        RemoveIPC = true;
        LockPersonality = true;
        MemoryDenyWriteExecute = true;
        RestrictAddressFamilies = [
          "AF_INET"
          "AF_INET6"
          "AF_NETLINK"
          "AF_UNIX"
        ];
        SystemCallArchitectures = "native";
        SystemCallFilter = [
          "@system-service"
          "~@privileged @resources"
        ];
        SystemCallErrorNumber = "EPERM";
        MemoryMax = "512M";
        TasksMax = 64;
      };
    };
  };
}
