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
    // Another configuration would have the same key file: a new key must not replace that one.
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
        &Converted::default(),
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

/// Writes a configuration from a legacy file, and returns it as it is read back.
fn converted(
    legacy: &str,
    change: impl FnOnce(&mut InitArgs, PathBuf),
) -> (tempfile::TempDir, Config) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("legacy.conf");
    std::fs::write(&file, legacy).unwrap();
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
    let (_directory, config) = converted(text, |args, file| args.from_pydiscover = Some(file));
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
    let (directory, config) = converted(text, |args, file| {
        std::fs::write(file.with_file_name("log.json"), "{}").unwrap();
        args.from_dynip = Some(file);
    });
    assert_eq!(config.compat.dynip.unwrap().port, 28631);
    let export = config.registry.export.unwrap();
    assert_eq!(
        (export.path, export.format),
        (
            directory.path().join("log.json"),
            crate::model::ExportFormat::Dynip
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
    // The records are copied before a server writes over them.
    assert_eq!(
        std::fs::read_to_string(directory.path().join("hereabouts.dynip.json")).unwrap(),
        "{}"
    );
}

#[test]
fn dynip_client_becomes_a_client() {
    let text = "[DynIP:Client]\nserver_hostname = 192.0.2.1\n";
    let (_directory, config) = converted(text, |args, file| args.from_dynip = Some(file));
    assert_eq!((config.role, config.compat.dynip), (Role::Client, None));
    assert_eq!(config.publish.len(), 2);
}

#[test]
fn malformed_legacy_file_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("legacy.conf");
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
