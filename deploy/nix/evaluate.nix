# Evaluates the flake and the module where nixpkgs can't be had, against stand-ins for the few functions that they use:
#
#   nix-instantiate --eval --strict --json deploy/nix/evaluate.nix
#
# It shows that every expression evaluates and what the module makes of settings; not that nixpkgs takes it: types,
# priorities and builds are nixpkgs' own. deploy/test/nix holds the result against the unit and the program.
let
  lib = rec {
    inherit (builtins)
      all
      any
      attrNames
      attrValues
      elem
      map
      mapAttrs
      ;
    filterAttrsRecursive =
      keep: set:
      builtins.listToAttrs (
        map (name: {
          inherit name;
          value = if builtins.isAttrs set.${name} then filterAttrsRecursive keep set.${name} else set.${name};
        }) (builtins.filter (name: keep name set.${name}) (attrNames set))
      );
    optional = condition: value: if condition then [ value ] else [ ];
    unique = builtins.foldl' (known: one: if elem one known then known else known ++ [ one ]) [ ];
    genAttrs =
      names: value:
      builtins.listToAttrs (
        map (name: {
          inherit name;
          value = value name;
        }) names
      );
    recursiveUpdate =
      left: right:
      left
      // builtins.mapAttrs (
        name: value:
        if builtins.isAttrs value && builtins.isAttrs (left.${name} or null) then
          recursiveUpdate left.${name} value
        else
          value
      ) right;
    getExe = package: "${package.outPath}/bin/${package.meta.mainProgram}";
    hasPrefix = prefix: text: builtins.substring 0 (builtins.stringLength prefix) text == prefix;
    importTOML = file: builtins.fromTOML (builtins.readFile file);
    mapAttrsToList = make: set: map (name: make name set.${name}) (attrNames set);
    mkDefault = value: value;
    mkEnableOption = description: { inherit description; };
    mkIf = condition: value: if condition then value else { };
    mkOption = option: option;
    optionalString = condition: text: if condition then text else "";
    fileset = {
      unions =
        paths:
        assert all builtins.pathExists paths;
        paths;
      toSource =
        { root, fileset }:
        assert builtins.pathExists root;
        {
          inherit root;
          files = map toString fileset;
        };
    };
    licenses = genAttrs [ "mit" "asl20" ] (name: name);
    platforms.linux = [ "linux" ];
    types = {
      package = "package";
      port = "port";
      str = "str";
      bool = "bool";
      attrsOf = type: type;
      nullOr = type: type;
      enum = values: values;
      submodule = module: module;
    };
  };

  # A derivation that is only looked at.
  made =
    arguments:
    arguments
    // {
      outPath = "/nix/store/${arguments.pname or arguments.name or "made"}";
      overrideAttrs = change: made (arguments // change arguments);
    };

  pkgsFor =
    system:
    let
      pkgs = {
        inherit lib;
        stdenv = {
          hostPlatform = { inherit system; };
          buildPlatform.canExecute = _: true;
        };
        rustPlatform.buildRustPackage = made;
        installShellFiles = "installShellFiles";
        dockerTools.buildLayeredImage = made;
        testers.runNixOSTest = made;
        mkShell = made;
        runCommand =
          name: environment: script:
          made (environment // { inherit name script; });
        formats.yaml = _: {
          type = "yaml";
          # JSON is YAML.
          generate = name: value: {
            inherit value;
            outPath = "/nix/store/${name}";
          };
        };
        pkgsStatic = pkgs;
        callPackage =
          file: overrides:
          let
            package = import file;
          in
          package (builtins.intersectAttrs (builtins.functionArgs package) pkgs // overrides);
      }
      // lib.genAttrs [
        "cargo"
        "cargo-deny"
        "cargo-nextest"
        "check-jsonschema"
        "clippy"
        "kubectl"
        "nixfmt"
        "rust-analyzer"
        "rustc"
        "rustfmt"
        "shellcheck"
      ] (name: name);
    in
    pkgs;

  flake = import ../../flake.nix;
  outputs = flake.outputs {
    self = outputs;
    nixpkgs = {
      inherit lib;
      legacyPackages = lib.genAttrs [
        "x86_64-linux"
        "aarch64-linux"
      ] pkgsFor;
    };
  };

  # What the module adds to a system with these settings of services.hereabouts. Its own settings come first, as
  # mkDefault has it.
  systemWith = systemCalled "machine";
  systemCalled =
    hostName: given:
    let
      pkgs = pkgsFor "x86_64-linux";
      outer = outputs.nixosModules.default { inherit pkgs lib; };
      options = (module given).options.services.hereabouts;
      free = options.settings.type.options;
      defaults = {
        enable = true;
        package = outer.services.hereabouts.package;
        credentials = options.credentials.default;
        openFirewall = options.openFirewall.default;
        settings = {
          role = free.role.default;
          node.name = free.node.name.default;
          channel.name = free.channel.name.default;
          listen.port = free.listen.port.default;
        };
      };
      module =
        hereabouts:
        import (builtins.head outer.imports) {
          inherit lib pkgs;
          config = {
            networking.hostName = hostName;
            services = { inherit hereabouts; };
          };
        };
      first = lib.recursiveUpdate defaults given;
      own = (module first).config.services.hereabouts.settings;
      settings = lib.recursiveUpdate own first.settings;
      result = (module (first // { inherit settings; })).config;
    in
    {
      inherit settings;
      inherit (result) assertions;
      inherit (result.networking) firewall;
      unit = result.systemd.services.hereabouts.serviceConfig;
      # What the file holds: the script that checks it names the written file.
      written = lib.filterAttrsRecursive (_: value: value != null) settings;
      check = result.environment.etc."hereabouts/hereabouts.yaml".source.script;
    };
  names = set: builtins.mapAttrs (_: builtins.attrNames) set;
in
{
  packages = names outputs.packages;
  checks = names outputs.checks;
  devShells = names outputs.devShells;
  programs = builtins.mapAttrs (_: apps: apps.default.program) outputs.apps;
  overlay = (outputs.overlays.default (pkgsFor "x86_64-linux") { }).hereabouts.pname;
  image = outputs.packages.x86_64-linux.image.config;
  source = outputs.packages.x86_64-linux.default.src.files;
  install = outputs.packages.aarch64-linux.static.postInstall;
  clippy = outputs.checks.x86_64-linux.clippy.buildPhase;
  test = builtins.attrNames outputs.checks.x86_64-linux.module.nodes;
  plain = systemWith { };
  keyed = systemWith {
    openFirewall = true;
    credentials."channel.key" = "/run/secrets/hereabouts.key";
    settings = {
      role = "client";
      listen.port = 24999;
      discovery.servers = [ "hub.example.org:24373" ];
    };
  };
  careless = systemWith { credentials.key = "/nix/store/abc-key"; };
  relative = systemWith { credentials.key = "keys/channel.key"; };
  nameless = systemCalled "" { };
  legacy = systemWith {
    openFirewall = true;
    settings = {
      discovery.methods = [ "broadcast" ];
      discovery.broadcast.port = 24400;
      compat = {
        pydiscover = { };
        dynip.port = 28631;
        terminals = { };
      };
    };
  };
  terminal = systemWith {
    openFirewall = true;
    settings = {
      role = "client";
      discovery.methods = [ ];
      compat.terminals = { };
    };
  };
}
