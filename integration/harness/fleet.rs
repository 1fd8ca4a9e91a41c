//! Nodes that share a key and a network.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;
use testcontainers::core::{AccessMode, Mount};
use testcontainers::runners::AsyncRunner;
use testcontainers::{ContainerRequest, GenericImage, ImageExt};

use super::UID;
use super::docker::{LABEL, image};
use super::network::{Network, Volume, random, unique};
use super::node::Node;

/// Where a node's configuration is: the directory that the program reads without a flag.
const CONFIG_DIRECTORY: &str = "/etc/hereabouts";
/// Where a node's key is.
pub(crate) const KEY_FILE: &str = "/etc/hereabouts/channel.key";
/// Where a node's state is.
pub(crate) const STATE_DIR: &str = "/var/lib/hereabouts";

/// Nodes that share a key, and their first network.
pub(crate) struct Fleet {
    /// The network on which [`Fleet::start`] puts a node by default.
    pub(crate) network: Arc<Network>,
    /// The channel's key.
    pub(crate) key: [u8; 32],
}

/// Where a node's state directory lives.
pub(crate) enum State {
    /// In memory, for as long as the container runs.
    Memory,
    /// On a volume that outlives it.
    Volume(Arc<Volume>),
    /// In a directory that belongs to root.
    NotWritable,
}

/// What a node is started with.
pub(crate) struct Setup {
    name: String,
    config: String,
    key_mode: u32,
    command: Vec<String>,
    network: Attached,
    state: State,
    files: Vec<(&'static str, Vec<u8>)>,
}

enum Attached {
    To(Arc<Network>),
    Nowhere,
    As(String),
}

impl Fleet {
    /// A fleet with a fresh key on a network of its own.
    pub(crate) async fn new() -> Self {
        Self::on(Network::new().await)
    }

    /// A fleet with a fresh key on a network.
    pub(crate) fn on(network: Arc<Network>) -> Self {
        Self {
            network,
            key: random(),
        }
    }

    /// Another fleet on the same network: it has another key.
    pub(crate) fn strangers(&self) -> Self {
        Self::on(self.network.clone())
    }

    /// A server; `more` are further lines of its config.
    pub(crate) fn server(&self, name: &str, more: &str) -> Setup {
        self.setup("server", name, more)
    }

    /// A client; `more` are further lines of its config.
    pub(crate) fn client(&self, name: &str, more: &str) -> Setup {
        self.setup("client", name, more)
    }

    fn setup(&self, role: &str, name: &str, more: &str) -> Setup {
        let config = format!(
            "role: {role}\n\
             node: {{ name: {name}, state_dir: {STATE_DIR} }}\n\
             channel: {{ name: {channel}, keys: [{{ file: {KEY_FILE} }}] }}\n\
             {more}\n",
            channel = self.channel(),
        );
        Setup {
            name: name.to_owned(),
            config,
            key_mode: 0o444,
            command: Vec::new(),
            network: Attached::To(self.network.clone()),
            state: State::Memory,
            files: Vec::new(),
        }
    }

    /// The channel's name.
    pub(crate) fn channel(&self) -> &'static str {
        "integration"
    }

    /// Starts a node.
    pub(crate) async fn start(&self, setup: Setup) -> Node {
        let Setup {
            name,
            config,
            key_mode,
            command,
            network,
            state,
            files,
        } = setup;
        let directory = TempDir::new().unwrap();
        // The node is another user than the one who writes here. As in a pod, others can read the key and nobody can
        // write it: the mount is read-only.
        mode(&directory, "", 0o755);
        fs::write(directory.path().join("hereabouts.yaml"), &config).unwrap();
        mode(&directory, "hereabouts.yaml", 0o644);
        fs::write(
            directory.path().join("channel.key"),
            data_encoding::BASE64.encode(&self.key) + "\n",
        )
        .unwrap();
        mode(&directory, "channel.key", key_mode);
        for (file, content) in files {
            put(directory.path(), file, &content);
        }

        let container = unique(&name);
        let mount = Mount::bind_mount(directory.path().to_str().unwrap(), CONFIG_DIRECTORY);
        let mut request: ContainerRequest<GenericImage> = image()
            .await
            .with_container_name(&container)
            .with_label(LABEL, "run")
            .with_mount(mount.with_access_mode(AccessMode::ReadOnly))
            .with_readonly_rootfs(true)
            .with_cap_drop("ALL")
            .with_security_opt("no-new-privileges")
            .with_cmd(command);
        let options = match &state {
            State::Memory => Some(format!("uid={UID},gid={UID},mode=0700")),
            State::NotWritable => Some("uid=0,gid=0,mode=0755".to_owned()),
            State::Volume(volume) => {
                request = request.with_mount(Mount::volume_mount(&volume.name, STATE_DIR));
                None
            }
        };
        let tmpfs = options.map(|options| HashMap::from([(STATE_DIR.to_owned(), options)]));
        let (network, mode) = match network {
            Attached::To(network) => (Some(network.clone()), network.name.clone()),
            Attached::Nowhere => (None, "none".to_owned()),
            Attached::As(container) => (None, format!("container:{container}")),
        };
        // testcontainers would make a network called `container:…`, and publish ports where there are none.
        let request = request.with_host_config_modifier(move |host| {
            host.tmpfs = tmpfs.clone();
            host.network_mode = Some(mode.clone());
            host.publish_all_ports = Some(false);
        });
        let started = request
            .start()
            .await
            .unwrap_or_else(|error| panic!("{name} could not be started: {error}"));
        let volume = match state {
            State::Volume(volume) => Some(volume),
            State::Memory | State::NotWritable => None,
        };
        Node::new(name, container, started, network, volume, directory)
    }
}

impl Setup {
    /// Runs this command instead of `run`.
    pub(crate) fn command(mut self, command: &[&str]) -> Self {
        self.command = command.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// Attached to this network instead of the fleet's.
    pub(crate) fn network(mut self, network: &Arc<Network>) -> Self {
        self.network = Attached::To(network.clone());
        self
    }

    /// Attached to no network.
    pub(crate) fn no_network(mut self) -> Self {
        self.network = Attached::Nowhere;
        self
    }

    /// In the network namespace of another node.
    pub(crate) fn beside(mut self, other: &Node) -> Self {
        self.network = Attached::As(other.container().to_owned());
        self
    }

    /// With its state there.
    pub(crate) fn state(mut self, state: State) -> Self {
        self.state = state;
        self
    }

    /// With a file beside its config: see [`Node::put`].
    pub(crate) fn file(mut self, name: &'static str, content: Vec<u8>) -> Self {
        self.files.push((name, content));
        self
    }

    /// With a key file of this mode.
    pub(crate) fn key_mode(mut self, mode: u32) -> Self {
        self.key_mode = mode;
        self
    }
}

/// Puts a file that everybody can read into a directory, in place of the one that is there.
pub(super) fn put(directory: &Path, name: &str, content: &[u8]) {
    let new = directory.join(format!(".{name}.new"));
    fs::write(&new, content).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o644)).unwrap();
    fs::rename(new, directory.join(name)).unwrap();
}

fn mode(directory: &TempDir, file: &str, mode: u32) {
    fs::set_permissions(
        directory.path().join(file),
        fs::Permissions::from_mode(mode),
    )
    .unwrap();
}
