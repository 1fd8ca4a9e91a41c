{
  description = "Where are my machines right now, and where were they before?";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      # Linux alone: the program uses netlink and recvmmsg.
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      forSystems = make: nixpkgs.lib.genAttrs systems (system: make nixpkgs.legacyPackages.${system});
      packagesOf = pkgs: rec {
        default = pkgs.callPackage ./deploy/nix/package.nix { };
        schema = pkgs.runCommand "hereabouts-schema.json" { } "${default}/bin/hereabouts schema >$out";
        # musl, with nothing to load: for machines without Nix, and for the image.
        static = pkgs.pkgsStatic.callPackage ./deploy/nix/package.nix { };
        image = pkgs.callPackage ./deploy/nix/image.nix { hereabouts = static; };
      };
    in
    {
      packages = forSystems packagesOf;

      apps = forSystems (pkgs: {
        default = {
          type = "app";
          program = "${self.packages.${pkgs.stdenv.hostPlatform.system}.default}/bin/hereabouts";
          meta.description = "Find machines, and show where they are";
        };
      });

      overlays.default = final: _previous: {
        hereabouts = final.callPackage ./deploy/nix/package.nix { };
      };

      nixosModules.default =
        { pkgs, lib, ... }:
        {
          imports = [ ./deploy/nix/module.nix ];
          services.hereabouts.package =
            lib.mkDefault
              self.packages.${pkgs.stdenv.hostPlatform.system}.default;
        };

      checks = forSystems (pkgs: {
        # The build runs the unit tests.
        package = self.packages.${pkgs.stdenv.hostPlatform.system}.default;
        clippy = self.packages.${pkgs.stdenv.hostPlatform.system}.default.overrideAttrs (before: {
          pname = "hereabouts-clippy";
          nativeBuildInputs = before.nativeBuildInputs ++ [ pkgs.clippy ];
          buildPhase = "cargo clippy --offline --all-targets -- -D warnings";
          installPhase = "touch $out";
          doCheck = false;
          doInstallCheck = false;
        });
        schema = pkgs.runCommand "hereabouts-schema-is-committed" { } ''
          diff ${./schema/hereabouts.schema.json} ${
            self.packages.${pkgs.stdenv.hostPlatform.system}.schema
          } && touch $out
        '';
        module = pkgs.callPackage ./deploy/nix/two-machines.nix { module = self.nixosModules.default; };
      });

      devShells = forSystems (pkgs: {
        default = pkgs.mkShell {
          packages = with pkgs; [
            cargo
            cargo-deny
            cargo-nextest
            check-jsonschema
            clippy
            kubectl
            rust-analyzer
            rustc
            rustfmt
            shellcheck
          ];
          # Nix's linker has no static glibc: the flags of .cargo/config.toml don't hold here.
          RUSTFLAGS = "";
        };
      });

      formatter = forSystems (pkgs: pkgs.nixfmt);
    };
}
