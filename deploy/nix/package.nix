# hereabouts, linked as the platform links: dynamically to glibc, or wholly static under pkgsStatic.
{
  lib,
  rustPlatform,
  installShellFiles,
  stdenv,
}:
let
  manifest = (lib.importTOML ../../Cargo.toml).package;
  root = ../..;
in
rustPlatform.buildRustPackage {
  pname = manifest.name;
  inherit (manifest) version;

  src = lib.fileset.toSource {
    inherit root;
    fileset = lib.fileset.unions [
      ../../Cargo.toml
      ../../Cargo.lock
      ../../benches
      ../../schema
      ../../src
      ../../tests
      ../../integration
    ];
  };
  # Every crate is of crates.io, so the lock file has all hashes.
  cargoLock.lockFile = ../../Cargo.lock;

  nativeBuildInputs = [ installShellFiles ];

  # The profile of what ships; tests are built as developers build them.
  buildType = "dist";
  checkType = "debug";

  # .cargo/config.toml stays outside: it asks for a static glibc, which Nix has not.
  # Tests of tests/ want the pages, or network namespaces, which the sandbox forbids.
  cargoTestFlags = [ "--lib" ];

  # A program for another machine can't print its completions here.
  postInstall = lib.optionalString (stdenv.buildPlatform.canExecute stdenv.hostPlatform) ''
    mkdir man
    $out/bin/hereabouts man man
    installManPage man/*.1
    installShellCompletion --cmd hereabouts \
      --bash <($out/bin/hereabouts completions bash) \
      --zsh <($out/bin/hereabouts completions zsh) \
      --fish <($out/bin/hereabouts completions fish)
  '';

  doInstallCheck = stdenv.buildPlatform.canExecute stdenv.hostPlatform;
  installCheckPhase = ''
    runHook preInstallCheck
    $out/bin/hereabouts schema | diff - ${../../schema/hereabouts.schema.json}
    runHook postInstallCheck
  '';

  meta = {
    inherit (manifest) description;
    homepage = "https://hereabouts.dev";
    license = with lib.licenses; [
      mit
      asl20
    ];
    mainProgram = "hereabouts";
    platforms = lib.platforms.linux;
  };
}
