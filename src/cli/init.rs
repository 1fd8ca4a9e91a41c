//! `hereabouts init`.

use std::io::{BufRead, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::Args;
use zeroize::Zeroizing;

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
    /// What this node runs as: client, server or both
    #[arg(long, value_name = "ROLE", default_value = "both", value_parser = parse_role)]
    pub role: Role,
    /// The node's name [default: the host's name]
    #[arg(long, value_name = "NAME")]
    pub name: Option<NodeName>,
    /// The channel's name
    #[arg(long, value_name = "NAME", default_value = "home")]
    pub channel: ChannelName,
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
        return Err(anyhow!("{} exists already and is left as it is", args.path.display()));
    }
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
    write_new(&args.path, 0o644, text(&args, &key_path).as_bytes())?;
    // What init writes, check accepts.
    load(&SystemEnvironment, Some(&args.path))?;
    let mut stderr = std::io::stderr();
    let folder = args.path.parent().unwrap_or(Path::new(""));
    let (config, key) = (args.path.display(), folder.join(&key_path));
    writeln!(stderr, "{config} is written; its key is in {}.", key.display())?;
    writeln!(stderr, "Next: hereabouts run --config {config}")?;
    writeln!(stderr, "Another machine joins with 'hereabouts init --key -', which asks for the text in the key file.")?;
    Ok(ExitCode::SUCCESS)
}

fn key(given: Option<&str>) -> anyhow::Result<Zeroizing<[u8; 32]>> {
    let malformed = "this is no key: 44 characters of base64 were expected, as hereabouts keygen prints them";
    match given {
        None => random_key(),
        Some("-") => {
            let mut text = Zeroizing::new(String::with_capacity(4096));
            let stdin = std::io::stdin();
            if stdin.is_terminal() {
                write!(std::io::stderr(), "The key of the channel (44 characters): ")?;
            }
            // A line is enough: at a terminal nobody would think of ending the input.
            stdin.lock().take(4096).read_line(&mut text).context("the key can't be read from stdin")?;
            decode_key(text.trim()).ok_or_else(|| anyhow!(malformed))
        }
        Some(text) => decode_key(text).ok_or_else(|| anyhow!(malformed)),
    }
}

fn text(args: &InitArgs, key: &Path) -> String {
    let quoted = |text: String| serde_json::Value::String(text.replace("${", "$${")).to_string();
    let name = match &args.name {
        Some(name) => format!("  name: {}", quoted(name.to_string())),
        None => "  # name: kiosk                  # default: the host's name".into(),
    };
    TEMPLATE
        .replace("{role}", &args.role.to_string())
        .replace("{name}", &name)
        .replace("{channel}", &quoted(args.channel.to_string()))
        .replace("{key}", &quoted(key.display().to_string()))
}

/// Every section; what is commented out is the default.
const TEMPLATE: &str = r#"# yaml-language-server: $schema=https://hereabouts.dev/schema/hereabouts.schema.json
# Leaving a setting out equals writing its default. ${VAR} and ${VAR:-default} work in every text.

# client: looks for servers and registers with them; server: keeps the registry; both.
role: {role}

node:
{name}
  # labels: { site: home }
  # state_dir: /var/lib/hereabouts # default: $STATE_DIRECTORY, else the user's state folder
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
#   exclude: ["docker*", "veth*", "br-*", "cni*", "flannel*", "virbr*", "tun*", "wg*", "tailscale*"]
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

# The wires of PyDiscover, DynIP and the terminals (not available yet).
# compat: { pydiscover: null, dynip: null, terminals: null }

# log: { level: info, format: text }   # format: text or json
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment, parse};

    fn args(path: PathBuf) -> InitArgs {
        let channel = "home".parse().unwrap();
        InitArgs { path, key: None, key_file: None, role: Role::Both, name: None, channel }
    }

    #[test]
    fn config_and_key_are_written_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hereabouts.yaml");
        run(args(path.clone())).unwrap();
        let loaded = load(&SystemEnvironment, Some(&path)).unwrap();
        assert_eq!(loaded.config.channel.secrets().unwrap().len(), 1);
        assert!(run(args(path)).is_err());
        // The config is gone, its key stays: a new one must not replace it.
        let other = folder.path().join("hereabouts.yml");
        assert!(run(args(other.clone())).is_err());
        assert!(!other.exists());
    }

    #[test]
    fn commented_settings_are_the_defaults() {
        let folder = tempfile::tempdir().unwrap();
        let lines = text(&args("x.yaml".into()), Path::new("x.key"));
        let sections = lines.lines().skip(3).map(|line| match line.strip_prefix("# ") {
            Some(rest)
                if rest.starts_with("  ") || rest.split_once(':').is_some_and(|(key, _)| SECTIONS.contains(&key)) =>
            {
                rest
            }
            _ => line,
        });
        let uncommented: String = sections.map(|line| format!("{line}\n")).collect();
        let parsed = parse("x", &uncommented, folder.path(), &SystemEnvironment).unwrap().config;
        let plain = parse("x", &lines, folder.path(), &SystemEnvironment).unwrap().config;
        assert_eq!(parsed, plain);
        assert!(uncommented.contains("\ninterfaces:") && uncommented.contains("\nlog:"));
        let expected = Config { channel: plain.channel.clone(), node: plain.node.clone(), ..Config::default() };
        assert_eq!(Config { registry: expected.registry.clone(), ..plain }, expected);
        assert!(SystemEnvironment.variable("NO_SUCH_VARIABLE").is_none());
    }

    const SECTIONS: [&str; 10] =
        ["interfaces", "discovery", "listen", "info", "registry", "publish", "files", "http", "compat", "log"];
}
