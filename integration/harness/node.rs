//! One container with one node.

use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use testcontainers::bollard::models::{
    EndpointIpamConfig, EndpointSettings, NetworkConnectRequest, NetworkDisconnectRequest,
};
use testcontainers::bollard::query_parameters::{InspectContainerOptions, KillContainerOptions};
use testcontainers::core::ExecCommand;
use testcontainers::{ContainerAsync, GenericImage};

use super::await_that::{SOON, await_equal, await_that};
use super::docker::{clean_up, docker};
use super::network::{Network, Volume};

/// How long Docker gives a node to send its goodbye before it kills it.
const STOP_WITHIN: i32 = 10;
/// The longest that one command may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// One container with one node. Dropped, it is removed; where the test fails, its log is printed first.
pub(crate) struct Node {
    name: String,
    container: String,
    started: ContainerAsync<GenericImage>,
    network: Option<Arc<Network>>,
    // Held until the container is removed; fields are dropped in this order.
    _volume: Option<Arc<Volume>>,
    directory: TempDir,
}

/// A command that ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    /// Its exit code; `None` where it could not be run at all.
    pub(crate) code: Option<i64>,
    /// What it printed.
    pub(crate) stdout: String,
    /// The rest of its output.
    pub(crate) stderr: String,
}

impl Node {
    pub(super) fn new(
        name: String,
        container: String,
        started: ContainerAsync<GenericImage>,
        network: Option<Arc<Network>>,
        volume: Option<Arc<Volume>>,
        directory: TempDir,
    ) -> Self {
        Self {
            name,
            container,
            started,
            network,
            _volume: volume,
            directory,
        }
    }

    /// The container's name: on its network, also its DNS name.
    pub(crate) fn container(&self) -> &str {
        &self.container
    }

    /// Runs `hereabouts ARGS` in the container. Its stdout is a pipe.
    pub(crate) async fn exec(&self, args: &[&str]) -> Ran {
        let run = async {
            let command = ExecCommand::new([&["/hereabouts"][..], args].concat());
            let mut ran = self
                .started
                .exec(command)
                .await
                .map_err(|error| error.to_string())?;
            let stdout = ran
                .stdout_to_vec()
                .await
                .map_err(|error| error.to_string())?;
            let stderr = ran
                .stderr_to_vec()
                .await
                .map_err(|error| error.to_string())?;
            // Its output ends a moment before Docker knows its code.
            let mut code = None;
            await_that(SOON, "a command that ended has an exit code", async || {
                code = ran.exit_code().await.unwrap_or_default();
                code.is_some()
            })
            .await;
            Ok::<_, String>(Ran {
                code,
                stdout: text(stdout),
                stderr: text(stderr),
            })
        };
        match tokio::time::timeout(COMMAND_LIMIT, run).await {
            Ok(Ok(ran)) => ran,
            Ok(Err(error)) => Ran {
                code: None,
                stdout: String::new(),
                stderr: error,
            },
            Err(_) => panic!(
                "{}: {args:?} did not end within {COMMAND_LIMIT:?}",
                self.name
            ),
        }
    }

    /// Runs a command that has to end with 0, and gives what it printed.
    pub(crate) async fn printed(&self, args: &[&str]) -> String {
        let ran = self.exec(args).await;
        assert_eq!(ran.code, Some(0), "{}: {args:?}: {ran:?}", self.name);
        ran.stdout
    }

    /// The JSON lines that a command prints; none where it fails.
    pub(crate) async fn json(&self, args: &[&str]) -> Vec<Value> {
        let ran = self.exec(&[args, &["--output", "json"]].concat()).await;
        let lines = ran.stdout.lines().map(|line| {
            serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("{}: {args:?}: {error}: {line}", self.name))
        });
        lines.collect()
    }

    /// The node's own view of itself; null while it does not answer.
    pub(crate) async fn status(&self) -> Value {
        self.json(&["status"]).await.pop().unwrap_or_default()
    }

    /// The names that this server lists as `nodes` does with these arguments, sorted.
    pub(crate) async fn names(&self, args: &[&str]) -> Vec<String> {
        let mut names: Vec<_> = self
            .exec(&[&["nodes"][..], args].concat())
            .await
            .stdout
            .lines()
            .map(str::to_owned)
            .collect();
        names.sort();
        names
    }

    /// What this server knows of a node, whatever its state; null if nothing.
    pub(crate) async fn knows(&self, name: &str) -> Value {
        let nodes = self.json(&["nodes", "--absent"]).await;
        nodes
            .into_iter()
            .find(|node| node["name"] == name)
            .unwrap_or_default()
    }

    /// Awaits that `health` reports ready: a server serves, a client is registered.
    pub(crate) async fn ready(&self) {
        await_equal(
            SOON,
            &format!("{} is ready", self.name),
            Some(0),
            async || self.exec(&["health"]).await.code,
        )
        .await;
    }

    /// Its IPv4 address on its first network.
    pub(crate) async fn address(&self) -> IpAddr {
        self.address_on(self.network.as_ref().expect("the node has a network"))
            .await
    }

    /// Its IPv4 address on a network.
    pub(crate) async fn address_on(&self, network: &Network) -> IpAddr {
        let inspected = docker()
            .await
            .inspect_container(self.started.id(), None::<InspectContainerOptions>)
            .await
            .unwrap();
        let networks = inspected
            .network_settings
            .and_then(|settings| settings.networks)
            .unwrap_or_default();
        let address = networks
            .get(&network.name)
            .and_then(|endpoint| endpoint.ip_address.as_deref());
        address
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(|| panic!("{} is not on {}", self.name, network.name))
    }

    /// Puts a file into the directory of its config, `/etc/hereabouts`, in place of the one that is there.
    pub(crate) fn put(&self, name: &str, content: &[u8]) {
        super::fleet::put(self.directory.path(), name, content);
    }

    /// The process id of the running node, as this machine counts.
    pub(crate) async fn pid(&self) -> i64 {
        let inspected = docker()
            .await
            .inspect_container(self.started.id(), None::<InspectContainerOptions>)
            .await
            .unwrap();
        let pid = inspected
            .state
            .and_then(|state| state.pid)
            .filter(|pid| *pid > 0);
        pid.unwrap_or_else(|| panic!("{} does not run", self.name))
    }

    /// A path of the running node as this machine, as root, sees it: memory and volumes too.
    pub(crate) async fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root/{path}", self.pid().await))
    }

    /// How many bytes came in over its interfaces but loopback so far, as the kernel counts.
    pub(crate) async fn received(&self) -> u64 {
        let table = std::fs::read_to_string(format!("/proc/{}/net/dev", self.pid().await)).unwrap();
        let interfaces = table.lines().filter_map(|line| line.split_once(':'));
        let others = interfaces.filter(|(name, _)| name.trim() != "lo");
        others
            .map(|(_, counts)| {
                counts
                    .split_whitespace()
                    .next()
                    .unwrap()
                    .parse::<u64>()
                    .unwrap()
            })
            .sum()
    }

    /// Sets or lists the packet filter of the running node; a start after a kill begins without one.
    pub(crate) async fn nft(&self, script: &str) -> String {
        let mut nsenter = Command::new("nsenter")
            .args([
                "--net",
                "--target",
                &self.pid().await.to_string(),
                "nft",
                "-f",
                "-",
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{error}: nsenter is needed, as root: `apt-get install util-linux`")
            });
        nsenter
            .stdin
            .take()
            .unwrap()
            .write_all(script.as_bytes())
            .unwrap();
        let ran = nsenter.wait_with_output().unwrap();
        assert!(
            ran.status.success(),
            "nft is needed, as root: `apt-get install nftables`: {script}"
        );
        text(ran.stdout)
    }

    /// Its log so far, of all its starts.
    pub(crate) async fn logs(&self) -> String {
        text(self.started.stderr_to_vec().await.unwrap_or_default())
    }

    /// Awaits that the container's own command ends.
    pub(crate) async fn ended(&self) -> Ran {
        await_that(SOON, &format!("{} has ended", self.name), async || {
            !self.started.is_running().await.unwrap()
        })
        .await;
        let code = self.started.exit_code().await.unwrap();
        Ran {
            code,
            stdout: text(self.started.stdout_to_vec().await.unwrap()),
            stderr: self.logs().await,
        }
    }

    /// Stops the node with SIGTERM, and starts it on [`Node::start`].
    pub(crate) async fn stop(&self) {
        self.started
            .stop_with_timeout(Some(STOP_WITHIN))
            .await
            .unwrap();
    }

    /// Starts a node that was stopped or killed.
    pub(crate) async fn start(&self) {
        self.started.start().await.unwrap();
    }

    /// Kills the node: it gets no chance to send or write anything.
    pub(crate) async fn kill(&self) {
        let signal = KillContainerOptions {
            signal: "SIGKILL".to_owned(),
        };
        docker()
            .await
            .kill_container(self.started.id(), Some(signal))
            .await
            .unwrap();
        await_that(SOON, &format!("{} is dead", self.name), async || {
            !self.started.is_running().await.unwrap()
        })
        .await;
    }

    /// Freezes the node. Datagrams still reach its sockets.
    pub(crate) async fn pause(&self) {
        self.started.pause().await.unwrap();
    }

    /// Lets a frozen node go on.
    pub(crate) async fn unpause(&self) {
        self.started.unpause().await.unwrap();
    }

    /// Removes the interface to a network.
    pub(crate) async fn disconnect(&self, network: &str) {
        let request = NetworkDisconnectRequest {
            container: self.started.id().to_owned(),
            force: Some(false),
        };
        docker()
            .await
            .disconnect_network(network, request)
            .await
            .unwrap();
    }

    /// Gives it an interface to a network, with this address if one is named.
    pub(crate) async fn connect(&self, network: &Network, address: Option<IpAddr>) {
        let chosen = |address: IpAddr| EndpointIpamConfig {
            ipv4_address: Some(address.to_string()),
            ..Default::default()
        };
        let endpoint = EndpointSettings {
            ipam_config: address.map(chosen),
            ..Default::default()
        };
        let container = self.started.id().to_owned();
        let request = NetworkConnectRequest {
            container,
            endpoint_config: Some(endpoint),
        };
        docker()
            .await
            .connect_network(&network.name, request)
            .await
            .unwrap();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            clean_up(async { eprintln!("---- log of {} ----\n{}", self.name, self.logs().await) });
        }
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("what the program prints is UTF-8")
}
