# Two machines that share a key find each other, by the module.
{ testers, module }:
let
  # The key of a test, known to everyone.
  key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
  machine = settings: {
    imports = [ module ];
    environment.etc."test.key" = {
      text = key;
      mode = "0600";
    };
    services.hereabouts = {
      enable = true;
      openFirewall = true;
      # A test's key may be in the store; it is named outside of it all the same.
      credentials."channel.key" = "/etc/test.key";
      settings = settings // {
        # The cable between the machines, not the one to the test driver.
        interfaces.include = [ "eth1" ];
      };
    };
  };
in
testers.runNixOSTest {
  name = "hereabouts-two-machines";
  nodes = {
    hub = machine { role = "server"; };
    laptop = machine { role = "client"; };
  };
  testScript = ''
    start_all()
    for node in hub, laptop:
        node.wait_for_unit("hereabouts.service")
    hub.wait_until_succeeds("hereabouts nodes --output plain | grep -qx laptop", timeout=60)
    # The driver gives the machines 192.168.1.1 and 192.168.1.2 in the order of their names.
    hub.succeed("test $(hereabouts where laptop --first) = 192.168.1.2")
    laptop.wait_until_succeeds("hereabouts health", timeout=30)
    exposure = hub.succeed("systemd-analyze security hereabouts --no-pager | tail -n 1")
    assert "OK" in exposure, exposure
    laptop.systemctl("stop hereabouts")
    hub.wait_until_fails("hereabouts nodes --output plain | grep -qx laptop", timeout=30)
  '';
}
