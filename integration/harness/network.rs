//! Docker networks and volumes that are removed with their last user.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use testcontainers::bollard::models::{
    Ipam, IpamConfig, NetworkCreateRequest, NetworkInspect, VolumeCreateRequest,
};
use testcontainers::bollard::query_parameters::{InspectNetworkOptions, RemoveVolumeOptions};

use super::docker::{LABEL, clean_up, docker};

/// A bridge network. Never one with `--internal`: all but directed broadcast is dropped there.
pub(crate) struct Network {
    /// Its name.
    pub(crate) name: String,
    /// Its IPv4 subnet's first address; the subnet is a /24 or wider.
    pub(crate) subnet: Ipv4Addr,
    id: String,
}

impl Network {
    /// A network with whatever subnet Docker has free.
    pub(crate) async fn new() -> Arc<Self> {
        let name = unique("net");
        let id = create(&name, None, false).await.unwrap();
        let subnet = subnet(&inspect(&id).await).0;
        Arc::new(Self { name, id, subnet })
    }

    /// A network on which a node's address can be chosen.
    pub(crate) async fn with_chosen_addresses() -> Arc<Self> {
        // Docker lets one choose addresses only in a subnet that was chosen, too: take one that it found free itself.
        let mut last = String::new();
        for _ in 0..10 {
            let free = create(&unique("probe"), None, false).await.unwrap();
            let (address, subnet) = subnet(&inspect(&free).await);
            docker().await.remove_network(&free).await.unwrap();
            let name = unique("net");
            match create(&name, Some(vec![subnet]), false).await {
                Ok(id) => {
                    return Arc::new(Self {
                        name,
                        id,
                        subnet: address,
                    });
                }
                // Another test was faster.
                Err(error) => last = error,
            }
        }
        panic!("no subnet could be had: {last}");
    }

    /// A network with IPv6 beside IPv4.
    pub(crate) async fn with_ipv6() -> Arc<Self> {
        let name = unique("net");
        // A unique local prefix drawn at random (RFC 4193 §3.2): no other network has it.
        let [a, b, c, d, e] = random();
        let prefix = format!("fd{a:02x}:{b:02x}{c:02x}:{d:02x}{e:02x}::/64");
        let id = create(&name, Some(vec![prefix]), true).await.unwrap();
        let subnet = subnet(&inspect(&id).await).0;
        Arc::new(Self { name, id, subnet })
    }

    /// The bridge of the network on this machine.
    pub(crate) fn bridge(&self) -> String {
        format!("br-{}", &self.id[..12])
    }

    /// An address of the network that Docker, which counts from the start, has not given away.
    pub(crate) fn far_address(&self, last: u8) -> IpAddr {
        let [a, b, c, _] = self.subnet.octets();
        Ipv4Addr::new(a, b, c, last).into()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        clean_up(async {
            if let Err(error) = docker().await.remove_network(&self.id).await {
                eprintln!("the network {} could not be removed: {error}", self.name);
            }
        });
    }
}

/// A named volume: it outlives a container.
pub(crate) struct Volume {
    /// Its name.
    pub(crate) name: String,
}

impl Volume {
    /// An empty volume.
    pub(crate) async fn new() -> Arc<Self> {
        let name = unique("state");
        let request = VolumeCreateRequest {
            name: Some(name.clone()),
            labels: Some(labels()),
            ..Default::default()
        };
        docker().await.create_volume(request).await.unwrap();
        Arc::new(Self { name })
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        clean_up(async {
            if let Err(error) = docker()
                .await
                .remove_volume(&self.name, None::<RemoveVolumeOptions>)
                .await
            {
                eprintln!("the volume {} could not be removed: {error}", self.name);
            }
        });
    }
}

/// A name that no other run and no other test has.
pub(super) fn unique(what: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    static RUN: std::sync::LazyLock<String> =
        std::sync::LazyLock::new(|| data_encoding::HEXLOWER.encode(&random::<4>()));
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("hereabouts-{}-{count}-{what}", *RUN)
}

/// Random bytes.
pub(super) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

pub(super) fn labels() -> HashMap<String, String> {
    HashMap::from([(LABEL.to_owned(), "run".to_owned())])
}

async fn create(name: &str, subnets: Option<Vec<String>>, ipv6: bool) -> Result<String, String> {
    let pools = subnets.map(|subnets| {
        subnets
            .into_iter()
            .map(|subnet| IpamConfig {
                subnet: Some(subnet),
                ..Default::default()
            })
            .collect()
    });
    let request = NetworkCreateRequest {
        name: name.to_owned(),
        ipam: pools.map(|config| Ipam {
            config: Some(config),
            ..Default::default()
        }),
        enable_ipv6: Some(ipv6),
        labels: Some(labels()),
        ..Default::default()
    };
    docker()
        .await
        .create_network(request)
        .await
        .map(|created| created.id)
        .map_err(|error| error.to_string())
}

async fn inspect(id: &str) -> NetworkInspect {
    docker()
        .await
        .inspect_network(id, None::<InspectNetworkOptions>)
        .await
        .unwrap()
}

/// The IPv4 subnet: its first address, and as text.
fn subnet(network: &NetworkInspect) -> (Ipv4Addr, String) {
    let pools = network
        .ipam
        .iter()
        .flat_map(|ipam| ipam.config.iter().flatten());
    pools
        .filter_map(|pool| {
            let text = pool.subnet.clone()?;
            let first = text.split_once('/')?.0.parse().ok()?;
            Some((first, text))
        })
        .next()
        .expect("Docker gives a network an IPv4 subnet")
}
