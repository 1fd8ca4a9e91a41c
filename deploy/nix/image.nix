# The image of deploy/image/Dockerfile, made by Nix: `nix build .#image && docker load <result`.
{
  dockerTools,
  hereabouts,
  lib,
}:
let
  seconds = 1000000000;
in
dockerTools.buildLayeredImage {
  name = "hereabouts";
  tag = hereabouts.version;
  # A fixed time, so that the same inputs give the same digest.
  created = "1970-01-01T00:00:01Z";
  # The binary alone: neither its pages nor its store path.
  includeStorePaths = false;
  fakeRootCommands = ''
    install -m 0755 ${lib.getExe hereabouts} hereabouts
    install -d var var/lib
    install -d -m 0700 -o 65532 -g 65532 var/lib/hereabouts
  '';
  config = {
    User = "65532:65532";
    Entrypoint = [ "/hereabouts" ];
    Cmd = [ "run" ];
    Env = [ "STATE_DIRECTORY=/var/lib/hereabouts" ];
    ExposedPorts = {
      "24373/udp" = { };
      "24373/tcp" = { };
    };
    Volumes."/var/lib/hereabouts" = { };
    StopSignal = "SIGTERM";
    Healthcheck = {
      Test = [
        "CMD"
        "/hereabouts"
        "health"
      ];
      Interval = 30 * seconds;
      Timeout = 6 * seconds;
      StartPeriod = 10 * seconds;
      Retries = 3;
    };
    Labels = {
      "org.opencontainers.image.title" = "hereabouts";
      "org.opencontainers.image.description" = hereabouts.meta.description;
      "org.opencontainers.image.version" = hereabouts.version;
      "org.opencontainers.image.licenses" = "MIT OR Apache-2.0";
      "org.opencontainers.image.source" = "https://github.com/hereabouts/hereabouts";
    };
  };
}
