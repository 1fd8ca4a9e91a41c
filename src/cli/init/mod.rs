//! `hereabouts init`.

use std::io::{BufRead, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::Args;
use zeroize::Zeroizing;

use super::ancestors::{self, Inherited, quoted};
use super::keygen::{random_key, write_key, write_new};
use crate::config::{ChannelName, KeySource, Secret, SystemEnvironment, decode_key, load};
use crate::model::{NodeName, Role};

/// Write a commented configuration and its key file
#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// Where the configuration goes, never over an existing file
    #[arg(value_name = "PATH", default_value = "hereabouts.yaml")]
    pub path: PathBuf,
    /// The key of the channel to join; - reads it from stdin, where ps does not show it [default: a new key]
    #[arg(long, value_name = "KEY", conflicts_with = "key_file")]
    pub key: Option<String>,
    /// A key file that is there already
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// What this node runs as: client, server or both [default: both]
    #[arg(long, value_name = "ROLE", value_parser = parse_role)]
    pub role: Option<Role>,
    /// The node's name [default: the host's name]
    #[arg(long, value_name = "NAME")]
    pub name: Option<NodeName>,
    /// The channel's name
    #[arg(long, value_name = "NAME", default_value = "home")]
    pub channel: ChannelName,
    /// Take over PyDiscover's INI file: its [DEFAULT] section becomes info
    #[arg(long, value_name = "FILE")]
    pub from_pydiscover: Option<PathBuf>,
    /// Take over DynIP's INI file: server, client, and a copy of its records for hereabouts import
    #[arg(long, value_name = "FILE", conflicts_with = "from_pydiscover")]
    pub from_dynip: Option<PathBuf>,
}

fn parse_role(text: &str) -> Result<Role, String> {
    match text {
        "client" => Ok(Role::Client),
        "server" => Ok(Role::Server),
        "both" => Ok(Role::Both),
        _ => Err("one of client, server, both was expected".into()),
    }
}

/// Writes the configuration, and its key beside it unless `--key-file` names one.
pub(super) fn run(args: InitArgs) -> anyhow::Result<ExitCode> {
    if args.path.exists() {
        return Err(anyhow!(
            "{} exists already and is left as it is",
            args.path.display()
        ));
    }
    // First, so that a file that can't be read leaves nothing behind.
    let inherited = match (&args.from_pydiscover, &args.from_dynip) {
        (Some(path), _) => ancestors::from_pydiscover(path)?,
        (None, Some(path)) => ancestors::from_dynip(path)?,
        (None, None) => Inherited::default(),
    };
    let key_path = match &args.key_file {
        Some(path) => {
            let path = std::path::absolute(path)?;
            let Secret::Key(_) = KeySource::File(path.clone()).read()? else {
                return Err(anyhow!("{} holds no key", path.display()));
            };
            path
        }
        None => {
            let beside = args.path.with_extension("key");
            write_key(&beside, &*key(args.key.as_deref())?)?;
            // Relative to the configuration, so that both can be moved together.
            beside.file_name().map(PathBuf::from).unwrap_or(beside)
        }
    };
    let records = keep_records(&args.path, &inherited)?;
    write_new(
        &args.path,
        0o644,
        text(&args, &key_path, &inherited).as_bytes(),
    )?;
    // What init writes, check accepts.
    load(&SystemEnvironment, Some(&args.path))?;
    let mut stderr = std::io::stderr();
    for told in &inherited.notes {
        writeln!(stderr, "note: {told}")?;
    }
    let directory = args.path.parent().unwrap_or(Path::new(""));
    let (config, key) = (args.path.display(), directory.join(&key_path));
    writeln!(
        stderr,
        "{config} is written; its key is in {}.",
        key.display()
    )?;
    writeln!(stderr, "Next: hereabouts run --config {config}")?;
    if let Some(records) = records {
        let records = records.display();
        writeln!(
            stderr,
            "Then, while it runs: hereabouts import --config {config} --dynip {records}"
        )?;
    }
    writeln!(
        stderr,
        "Another machine joins with 'hereabouts init --key -', which asks for the text in the key file."
    )?;
    Ok(ExitCode::SUCCESS)
}

/// Copies DynIP's records beside the config: the server writes its own in their place as soon as it starts.
fn keep_records(config: &Path, inherited: &Inherited) -> anyhow::Result<Option<PathBuf>> {
    let Some(records) = inherited
        .records
        .as_deref()
        .filter(|records| records.exists())
    else {
        return Ok(None);
    };
    let copy = config.with_extension("dynip.json");
    let bytes = ancestors::read(records, super::import::MAX_FILE)?;
    write_new(&copy, 0o644, &bytes)?;
    Ok(Some(copy))
}

fn key(given: Option<&str>) -> anyhow::Result<Zeroizing<[u8; 32]>> {
    let malformed =
        "this is no key: 44 characters of base64 were expected, as hereabouts keygen prints them";
    match given {
        None => random_key(),
        Some("-") => {
            let mut text = Zeroizing::new(String::with_capacity(4096));
            let stdin = std::io::stdin();
            if stdin.is_terminal() {
                write!(
                    std::io::stderr(),
                    "The key of the channel (44 characters): "
                )?;
            }
            // A line is enough: at a terminal nobody would think of ending the input.
            stdin
                .lock()
                .take(4096)
                .read_line(&mut text)
                .context("the key can't be read from stdin")?;
            decode_key(text.trim()).ok_or_else(|| anyhow!(malformed))
        }
        Some(text) => decode_key(text).ok_or_else(|| anyhow!(malformed)),
    }
}

fn text(args: &InitArgs, key: &Path, inherited: &Inherited) -> String {
    let name = match &args.name {
        Some(name) => format!("  name: {}", quoted(name.as_str())),
        None => "  # name: kiosk                  # default: the host's name".into(),
    };
    let role = args.role.or(inherited.role).unwrap_or(Role::Both);
    let template = inherited
        .sections
        .iter()
        .fold(TEMPLATE.to_owned(), |text, (name, section)| {
            put(&text, name, section)
        });
    template
        .replace("{role}", &role.to_string())
        .replace("{name}", &name)
        .replace("{channel}", &quoted(args.channel.as_str()))
        .replace("{key}", &quoted(&key.display().to_string()))
}

/// Puts a section in the place of the one that stands there commented out.
fn put(text: &str, name: &str, section: &str) -> String {
    let (head, inside) = (format!("# {name}:"), "#   ");
    let mut out = String::new();
    let mut skipping = false;
    for line in text.split_inclusive('\n') {
        if line.starts_with(&head) {
            out.push_str(section);
            skipping = true;
        } else if !(skipping && line.starts_with(inside)) {
            skipping = false;
            out.push_str(line);
        }
    }
    out
}

/// Every section; what is commented out is the default.
const TEMPLATE: &str = r#"# yaml-language-server: $schema=https://hereabouts.dev/schema/hereabouts.schema.json
# Leaving a setting out equals writing its default. ${VAR} and ${VAR:-default} work in every text.

# client: looks for servers and registers with them; server: keeps the registry; both.
role: {role}

node:
{name}
  # labels: { site: home }
  # state_dir: /var/lib/hereabouts # default: $STATE_DIRECTORY, else the user's state directory
  # advertise: []                  # addresses to announce instead of the ones found

# Nodes with one channel name and one key find each other; nobody else learns anything.
channel:
  name: {channel}
  keys:                            # the first seals, every one opens
    - file: {key}
  # hidden: true                   # false: who has the key under another channel name is told this one

# Which interfaces are used for listening, sending and announcing.
# interfaces:
#   include: ["*"]
#   exclude: [ # what containers, virtual machines, tunnels and VPNs make
#     "docker*", "podman*", "br-*", "veth*", "lxc*", "lxd*", "incus*", "cni*", "cali*", "cilium*",
#     "flannel*", "weave*", "antrea*", "ovn*", "kube-*", "nodelocaldns*", "eni*", "azv*", "gke*",
#     "virbr*", "vnet*", "tap*", "macvtap*", "vif*", "vboxnet*", "vmnet*", "fwbr*", "fwln*",
#     "fwpr*", "vxlan*", "genev*", "tun*", "gre*", "ip6gre*", "erspan*", "ipip*", "sit*", "6in4*",
#     "teredo*", "ip6tnl*", "vti*", "ip_vti*", "ip6_vti*", "l2tp*", "wg*", "wireguard*",
#     "tailscale*", "zt*", "wt*", "nebula*", "ppp*", "ipsec*", "xfrm*", "vpn*", "proton*",
#     "nordlynx*", "CloudflareWARP*"]
#   addresses: { ipv4: true, ipv6: true, link_local: false, loopback: false }

# How servers are found. servers are asked by unicast, on this network or another.
# discovery:
#   methods: [multicast, broadcast, mdns]
#   fallback_after: 3s
#   max_servers: 4
#   servers: []                    # ["hub.example.org:24373"]
#   multicast: { ipv4_group: 239.255.43.73, ipv6_group: "ff12::4373", port: 24373, ttl: 1 }
#   broadcast: { port: 24373 }
#   mdns: { service: _hereabouts._udp }

# Where this node listens, on UDP and TCP; "::" is every address of both families.
# listen: { address: "::", port: 24373 }

# A server's own key/values, given to whoever holds the key and asks.
# info: {}

# What a server keeps.
# registry:
#   lease: 90s                     # a node that died is gone after this time
#   history: 90d                   # how long a node's addresses are remembered
#   release_after: 30d             # a name unused this long may be taken by another machine
#   store: { type: embedded, path: registry.redb }
#   export: null                   # { path: nodes.json, format: hereabouts }

# Where this node makes its own record known; { type: mdns } shows it as NAME.local to everybody on the link.
# publish:
#   - { type: server }

# Files that servers hold and nodes pull (not available yet).
# files: { offer: [], accept: [], spread: 10s }

# The HTTP interface (not available yet).
# http: { listen: null, token_file: null }

# The wires of PyDiscover, DynIP and the terminals: unauthenticated, so each is off unless it is named.
# compat: { pydiscover: null, dynip: null, terminals: null }

# log: { level: info, format: text }   # format: text or json
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment, parse};

    fn args(path: PathBuf) -> InitArgs {
        let channel = "home".parse().unwrap();
        InitArgs {
            path,
            key: None,
            key_file: None,
            role: None,
            name: None,
            channel,
            from_pydiscover: None,
            from_dynip: None,
        }
    }

    #[test]
    fn config_and_key_are_written_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hereabouts.yaml");
        run(args(path.clone())).unwrap();
        let loaded = load(&SystemEnvironment, Some(&path)).unwrap();
        assert_eq!(loaded.config.channel.secrets().unwrap().len(), 1);
        assert!(run(args(path)).is_err());
        // The config is gone, its key stays: a new one must not replace it.
        let other = directory.path().join("hereabouts.yml");
        assert!(run(args(other.clone())).is_err());
        assert!(!other.exists());
    }

    #[test]
    fn commented_settings_are_the_defaults() {
        let directory = tempfile::tempdir().unwrap();
        let lines = text(
            &args("x.yaml".into()),
            Path::new("x.key"),
            &Inherited::default(),
        );
        let sections = lines
            .lines()
            .skip(3)
            .map(|line| match line.strip_prefix("# ") {
                Some(rest)
                    if rest.starts_with("  ")
                        || rest
                            .split_once(':')
                            .is_some_and(|(key, _)| SECTIONS.contains(&key)) =>
                {
                    rest
                }
                _ => line,
            });
        let uncommented: String = sections.map(|line| format!("{line}\n")).collect();
        let parsed = parse("x", &uncommented, directory.path(), &SystemEnvironment)
            .unwrap()
            .config;
        let plain = parse("x", &lines, directory.path(), &SystemEnvironment)
            .unwrap()
            .config;
        assert_eq!(parsed, plain);
        assert!(uncommented.contains("\ninterfaces:") && uncommented.contains("\nlog:"));
        let expected = Config {
            channel: plain.channel.clone(),
            node: plain.node.clone(),
            ..Config::default()
        };
        assert_eq!(
            Config {
                registry: expected.registry.clone(),
                ..plain
            },
            expected
        );
        assert!(SystemEnvironment.variable("NO_SUCH_VARIABLE").is_none());
    }

    /// Writes a config from an ancestor's file, and gives it as it is read back.
    fn inherited(
        ancestor: &str,
        change: impl FnOnce(&mut InitArgs, PathBuf),
    ) -> (tempfile::TempDir, Config) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ancestor.conf");
        std::fs::write(&file, ancestor).unwrap();
        let mut args = args(directory.path().join("hereabouts.yaml"));
        change(&mut args, file);
        let path = args.path.clone();
        run(args).unwrap();
        let config = load(&SystemEnvironment, Some(&path)).unwrap().config;
        assert!(config.unavailable().is_empty());
        (directory, config)
    }

    #[test]
    fn pydiscover_file_becomes_info() {
        let text = "[DEFAULT]\nservices = 10.0.0.1\nnet_password = a\"${HOME}: #x\n";
        let (_directory, config) = inherited(text, |args, file| args.from_pydiscover = Some(file));
        let info: Vec<_> = config.info.iter().collect();
        assert_eq!(
            info,
            [("net_password", "a\"${HOME}: #x"), ("services", "10.0.0.1")]
        );
        assert_eq!(config.compat.pydiscover, Some(Default::default()));
        assert_eq!(config.role, Role::Both);
    }

    #[test]
    fn dynip_file_becomes_server_client_and_export() {
        let text = "[DynIP:Server]\nserver_ip = *\nserver_port = 28631\nclient_log_path = log.json\n\
                    [DynIP:Client]\nserver_hostname = old.example.org\nserver_port = 28632\n";
        let (directory, config) = inherited(text, |args, file| {
            std::fs::write(file.with_file_name("log.json"), "{}").unwrap();
            args.from_dynip = Some(file);
        });
        assert_eq!(config.compat.dynip.unwrap().port, 28631);
        let export = config.registry.export.unwrap();
        assert_eq!(
            (export.path, export.format),
            (
                directory.path().join("log.json"),
                crate::config::ExportFormat::Dynip
            )
        );
        let target = "old.example.org:28632".parse().unwrap();
        let expected = crate::config::PublishTarget::Dynip {
            server: target,
            every: crate::config::ConfigDuration::from_secs(300),
        };
        assert_eq!(
            config.publish,
            [crate::config::PublishTarget::Server {}, expected]
        );
        // The records are kept before a server writes over them.
        assert_eq!(
            std::fs::read_to_string(directory.path().join("hereabouts.dynip.json")).unwrap(),
            "{}"
        );
    }

    #[test]
    fn dynip_client_becomes_a_client() {
        let text = "[DynIP:Client]\nserver_hostname = 192.0.2.1\n";
        let (_directory, config) = inherited(text, |args, file| args.from_dynip = Some(file));
        assert_eq!((config.role, config.compat.dynip), (Role::Client, None));
        assert_eq!(config.publish.len(), 2);
    }

    #[test]
    fn ancestor_file_that_is_none_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("ancestor.conf");
        for text in [
            "",
            "[x]\na = 1",
            "a = 1",
            "[DynIP:Client]\nserver_port = 70000",
            "[DEFAULT]\na key = 1",
        ] {
            std::fs::write(&file, text).unwrap();
            for from in [true, false] {
                let mut args = args(directory.path().join("hereabouts.yaml"));
                args.from_dynip = from.then(|| file.clone());
                args.from_pydiscover = (!from).then(|| file.clone());
                assert!(run(args).is_err(), "{text:?}");
            }
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    const SECTIONS: [&str; 10] = [
        "interfaces",
        "discovery",
        "listen",
        "info",
        "registry",
        "publish",
        "files",
        "http",
        "compat",
        "log",
    ];
}
