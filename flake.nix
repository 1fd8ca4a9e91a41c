{
  description = "Where are my machines right now, and where were they before?";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      linux = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      darwin = [
        "x86_64-darwin"
        "aarch64-darwin"
      ];
      forSystems =
        systems: make: nixpkgs.lib.genAttrs systems (system: make nixpkgs.legacyPackages.${system});
      packagesOf = pkgs: rec {
        default = pkgs.callPackage ./deploy/nix/package.nix { };
        schema = pkgs.runCommand "hereabouts-schema.json" { } "${default}/bin/hereabouts schema >$out";
      };
      linuxPackagesOf = pkgs: rec {
        # musl, with nothing to load: for machines without Nix, and for the image.
        static = pkgs.pkgsStatic.callPackage ./deploy/nix/package.nix { };
        image = pkgs.callPackage ./deploy/nix/image.nix { hereabouts = static; };
      };
    in
    {
      packages = nixpkgs.lib.recursiveUpdate (forSystems (linux ++ darwin) packagesOf) (
        forSystems linux linuxPackagesOf
      );

      apps = forSystems (linux ++ darwin) (pkgs: {
        default = {
          type = "app";
          program = "${self.packages.${pkgs.system}.default}/bin/hereabouts";
          meta.description = "Find machines, and tell where they are";
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

      checks = forSystems linux (pkgs: {
        # The build runs the unit tests.
        package = self.packages.${pkgs.system}.default;
        clippy = self.packages.${pkgs.system}.default.overrideAttrs (before: {
          pname = "hereabouts-clippy";
          nativeBuildInputs = before.nativeBuildInputs ++ [ pkgs.clippy ];
          buildPhase = "cargo clippy --offline --all-targets -- -D warnings";
          installPhase = "touch $out";
          doCheck = false;
          doInstallCheck = false;
        });
        schema = pkgs.runCommand "hereabouts-schema-is-committed" { } ''
          diff ${./schema/hereabouts.schema.json} ${self.packages.${pkgs.system}.schema} && touch $out
        '';
        module = pkgs.callPackage ./deploy/nix/two-machines.nix { module = self.nixosModules.default; };
      });

      devShells = forSystems (linux ++ darwin) (pkgs: {
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

      formatter = forSystems (linux ++ darwin) (pkgs: pkgs.nixfmt-rfc-style);
    };
}
