use super::*;
use crate::model::InterfaceName;
use crate::net::{Decision, InterfaceAddress};

/// Whether a configuration uses an interface of this name that is otherwise usable.
fn uses(config: &Config, name: &str) -> bool {
    let interface = Interface {
        index: 2,
        name: InterfaceName::parse(name).unwrap(),
        up: true,
        loopback: false,
        multicast: true,
        broadcast: true,
        point_to_point: false,
        kind: None,
        addresses: vec![InterfaceAddress::new("10.0.0.1".parse().unwrap(), 24)],
    };
    matches!(policy(config).decide(&interface), Decision::Used { .. })
}

/// Names of interfaces on real machines.
const VIRTUAL: &str = "docker0 docker_gwbridge br-5f2c91a0b3d4 veth1a2b3c4 podman0 podman1 lxcbr0 lxdbr0 incusbr0 \
    cni0 cni-podman0 cali12ab34cd56e vxlan.calico wireguard.cali tunl0 cilium_host cilium_net cilium_vxlan \
    lxc_health lxc2f9d4ac0d1b1 flannel.1 flannel-wg weave vethwe-bridge antrea-gw0 antrea-tun0 ovn-k8s-mp0 \
    genev_sys_6081 vxlan_sys_4789 kube-ipvs0 kube-bridge nodelocaldns eni3f8a91c2d4e azv7b1c2d3e4f5 gke1a2b3c4d5e6 \
    virbr0 virbr0-nic vnet0 vnet12 tap0 tap100i0 fwbr100i0 fwpr100p0 fwln100i0 vif1.0 macvtap0 vboxnet0 vmnet8 \
    tun0 gre0 gretap0 erspan0 ip6gre0 ipip0 sit0 6in4-wan6 teredo ip6tnl0 vti1 ip_vti0 ip6_vti0 l2tpeth0 vxlan100 \
    wg0 wg-mullvad tailscale0 ztks54l6w3 wt0 nebula1 ppp0 ipsec0 xfrm0 vpn0 proton0 nordlynx CloudflareWARP";
const REAL: &str = "eth0 eth0.20 eno1 enp3s0 enp0s31f6 enP4p65s0 ens18 enx001122334455 end0 enX0 wlan0 wlp2s0 \
    wlx00c0ca112233 wwan0 usb0 bond0 team0 br0 br0.20 br1 vmbr0 bridge0 bat0 macvlan0 vlan20 lan1 mgmt0";

#[test]
fn default_patterns_exclude_interfaces_of_containers_virtual_machines_tunnels_and_vpns() {
    let config = Config::default();
    let used: Vec<_> = VIRTUAL
        .split_whitespace()
        .filter(|name| uses(&config, name))
        .collect();
    assert_eq!(used, [""; 0]);
}

#[test]
fn default_patterns_use_real_interfaces_and_the_hosts_own_bridge() {
    let config = Config::default();
    let unused: Vec<_> = REAL
        .split_whitespace()
        .filter(|name| !uses(&config, name))
        .collect();
    assert_eq!(unused, [""; 0]);
}

#[test]
fn interface_excluded_by_default_is_used_when_it_is_named() {
    for name in VIRTUAL.split_whitespace() {
        let mut config = Config::default();
        config.interfaces.include.push(name.parse().unwrap());
        assert!(uses(&config, name), "{name}");
    }
}

#[test]
fn every_default_pattern_matches_a_known_name() {
    let config = Config::default();
    let names: Vec<_> = VIRTUAL.split_whitespace().collect();
    for pattern in policy(&config).exclude {
        assert!(
            names.iter().any(|name| pattern.matches(name)),
            "no name in the list matches {pattern}"
        );
    }
    assert_eq!(config.interfaces.exclude.len(), 57, "each of them parses");
}

fn loopback() -> Interface {
    Interface {
        index: 1,
        name: InterfaceName::parse("lo").unwrap(),
        up: true,
        loopback: true,
        multicast: false,
        broadcast: false,
        point_to_point: false,
        kind: None,
        addresses: Vec::new(),
    }
}

#[test]
fn empty_list_of_interfaces_is_unknown_and_one_without_addresses_is_known() {
    let config = Config::default();
    let policy = policy(&config);
    assert_eq!(network(&config, &policy, &[]), None);
    assert_eq!(
        network(&config, &policy, &[loopback()]),
        Some(Network::default())
    );
}

#[test]
fn command_announces_nothing_where_the_interfaces_are_not_known() {
    // The command registers, even where the node itself publishes nothing.
    let config = Config {
        publish: Vec::new(),
        ..Config::default()
    };
    let policy = policy(&config);
    assert_eq!(single_announcement(&config, &policy, &[]), None);
    let addresses = vec![InterfaceAddress::new([10, 0, 0, 7].into(), 24)];
    let name = InterfaceName::parse("eth0").unwrap();
    let eth0 = Interface {
        index: 2,
        name,
        loopback: false,
        multicast: true,
        addresses,
        ..loopback()
    };
    let announced = single_announcement(&config, &policy, &[loopback(), eth0]).unwrap();
    assert_eq!((announced.role, announced.port), (Role::Client, 0));
    assert_eq!(
        announced.ips().collect::<Vec<_>>(),
        [std::net::IpAddr::from([10, 0, 0, 7])]
    );
    assert_eq!(
        single_announcement(&config, &policy, &[loopback()])
            .unwrap()
            .addresses,
        [],
        "the servers see where it is"
    );
}
