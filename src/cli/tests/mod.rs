//! Whole commands, over a network in memory and a real control socket.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::{CommandFactory, Parser};
use tempfile::TempDir;

use super::client::{Client, EachItem};
use super::context::Context;
use super::output::Output;
use super::{Cli, exit};
use crate::api::control::tests::Served;
use crate::api::control::{AskError, Call};
use crate::api::request::{ErrorKind, Item, PAGE, Request, Response};
use crate::api::view::*;
use crate::config::{Config, Loaded};
use crate::model::{Labels, State};
use crate::net::Interface;
use crate::net::rank::interface;

mod shapes;
mod views;

pub(super) use views::node;
use views::{announced, finding, found, holder, interval};

/// A network where every node answers with the views of this struct.
#[derive(Default)]
struct FakeClient {
    nodes: Vec<NodeView>,
    found: Vec<FoundView>,
    announced: Vec<AnnouncedView>,
    findings: Vec<FindingView>,
    /// The answer of a server of the network over a session; without it, there is no server.
    server: Option<fn(&Request) -> Vec<Item>>,
}

impl FakeClient {
    fn items(&self, request: &Request) -> anyhow::Result<Vec<Item>> {
        Ok(match request {
            Request::Lookup { name } => {
                let node = self.nodes.iter().find(|node| node.name == *name);
                node.cloned().map(Item::from).into_iter().collect()
            }
            Request::LookupHolder { address } => {
                let holder = holder(true);
                let matches = holder.address == *address;
                matches.then(|| holder.into()).into_iter().collect()
            }
            Request::Announce => self.announced.iter().cloned().map(Item::from).collect(),
            request => match self.server {
                Some(answer) => answer(request),
                None => anyhow::bail!("no server of this channel answered within 2 s"),
            },
        })
    }
}

impl Client for FakeClient {
    fn interfaces(&self) -> Vec<Interface> {
        vec![interface(2, "eth0", &["192.168.1.4/24", "fe80::7/64"])]
    }

    fn ask(
        &self,
        _config: &Config,
        request: &Request,
        _limit: Duration,
        each: EachItem<'_>,
    ) -> anyhow::Result<()> {
        let _ = self.items(request)?.into_iter().try_for_each(each);
        Ok(())
    }

    fn discover(
        &self,
        _config: &Config,
        _all: bool,
        _window: Duration,
        found: &mut dyn FnMut(FoundView) -> ControlFlow<()>,
    ) -> anyhow::Result<()> {
        let _ = self.found.iter().cloned().try_for_each(found);
        Ok(())
    }

    fn discover_pydiscover(
        &self,
        _config: &Config,
        _window: Duration,
        _found: &mut dyn FnMut(PydiscoverFoundView) -> ControlFlow<()>,
    ) -> anyhow::Result<()> {
        Ok(())
    }

    fn announce_dynip(
        &self,
        _config: &Config,
        servers: &[String],
    ) -> anyhow::Result<Vec<AnnounceResult>> {
        let result = |server: &String| AnnounceResult {
            server: server.clone(),
            error: None,
        };
        Ok(servers.iter().map(result).collect())
    }

    fn examine(
        &self,
        _loaded: &Loaded,
        running: Result<Box<StatusView>, AskError>,
        progress: &mut dyn FnMut(&str),
    ) -> anyhow::Result<Vec<FindingView>> {
        progress("everything");
        let node = match running {
            Ok(status) => finding(
                Code::Node,
                Severity::Ok,
                &format!("'{}' runs", status.node.name),
            ),
            Err(error) => finding(Code::NodeAbsent, Severity::Ok, &error.to_string()),
        };
        Ok([node].into_iter().chain(self.findings.clone()).collect())
    }
}

/// How a command ended.
#[derive(Debug, PartialEq)]
struct Ended {
    code: u8,
    stdout: String,
    error: String,
}

fn execute(fake: &FakeClient, state_dir: &Path, args: &str) -> Ended {
    let mut stdout = Vec::new();
    let (code, error) = execute_into(fake, state_dir, args, &mut stdout);
    Ended {
        code,
        stdout: String::from_utf8(stdout).unwrap(),
        error,
    }
}

fn execute_into(
    fake: &FakeClient,
    state_dir: &Path,
    args: &str,
    stdout: impl std::io::Write,
) -> (u8, String) {
    let config = serde_json::json!({ "node": { "state_dir": state_dir } });
    execute_with_config(fake, state_dir, &config.to_string(), args, stdout)
}

/// Runs a command with the text of a configuration, which is written into `directory`.
fn execute_with_config(
    fake: &FakeClient,
    directory: &Path,
    config: &str,
    args: &str,
    stdout: impl std::io::Write,
) -> (u8, String) {
    let file = directory.join("hereabouts.yaml");
    std::fs::write(&file, config).unwrap();
    let cli = Cli::try_parse_from(std::iter::once("hereabouts").chain(args.split(' '))).unwrap();
    let context = Context::new(Some(file), fake);
    let mut output = Output::new(stdout, cli.global.output, false);
    match cli.command.run(&cli.global, &context, &mut output) {
        Ok(code) if code == std::process::ExitCode::SUCCESS => (0, String::new()),
        Ok(_) => (exit::FAILED, String::new()),
        Err(error) => (exit::code(&error), format!("{error:#}")),
    }
}

/// A node behind a control socket that answers each request with what `answer` gives.
fn served(answer: impl Fn(&Request) -> Vec<Response> + Send + 'static) -> Served {
    Served::new(move |Call { request, reply }| {
        for response in answer(&request) {
            reply.try_send(response).unwrap();
        }
    })
}

fn items(items: impl IntoIterator<Item = impl Into<Item>>) -> Vec<Response> {
    items
        .into_iter()
        .map(|item| Response::Item { item: item.into() })
        .chain([Response::END])
        .collect()
}

fn refused(kind: ErrorKind) -> Vec<Response> {
    vec![Response::error(kind, "not here")]
}

#[test]
fn where_asks_the_network_when_no_node_runs_here() {
    let dir = TempDir::new().unwrap();
    let fake = FakeClient {
        nodes: vec![node("laptop", &["10.9.0.5", "203.0.113.7"])],
        ..FakeClient::default()
    };
    let ended = execute(&fake, dir.path(), "where Laptop");
    assert_eq!(
        ended,
        Ended {
            code: 0,
            stdout: "203.0.113.7\n10.9.0.5\n192.0.2.9\n".into(),
            error: String::new()
        }
    );
    assert_eq!(
        execute(&fake, dir.path(), "where laptop --first").stdout,
        "203.0.113.7\n"
    );
    let ended = execute(&fake, dir.path(), "where tablet");
    assert_eq!(
        (ended.code, ended.error.as_str()),
        (
            3,
            "tablet is unknown: no node that answered knows it (`hereabouts nodes --absent` lists the names)"
        )
    );
}

#[test]
fn where_asks_the_node_of_this_machine_first_and_through_it_the_network() {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let log = requests.clone();
    let served = served(move |request| {
        log.lock().unwrap().push(format!("{request:?}"));
        match request {
            Request::Node { .. } => refused(ErrorKind::NotServer),
            Request::Lookup { .. } => items([node("laptop", &["10.9.0.5"])]),
            _ => refused(ErrorKind::BadRequest),
        }
    });
    let ended = execute(&FakeClient::default(), served.dir(), "where laptop --first");
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "10.9.0.5\n"));
    assert_eq!(
        *requests.lock().unwrap(),
        [
            r#"Node { name: "laptop", at: None }"#,
            r#"Lookup { name: "laptop" }"#
        ]
    );
}

#[test]
fn where_prints_a_node_that_is_absent() {
    let absent = NodeView {
        state: State::Expired,
        ..node("laptop", &["10.9.0.5"])
    };
    let served = served(move |_| items([absent.clone()]));
    let ended = execute(&FakeClient::default(), served.dir(), "where laptop --first");
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "10.9.0.5\n"));
}

#[test]
fn where_at_a_time_needs_a_registry() {
    let dir = TempDir::new().unwrap();
    let ended = execute(&FakeClient::default(), dir.path(), "where laptop --at 2h");
    assert_eq!(ended.code, 1);
    assert!(
        ended.error.contains("no server of this channel answered"),
        "{}",
        ended.error
    );
    let served = served(|request| match request {
        Request::Node { at: Some(_), .. } => items([interval(None)]),
        _ => refused(ErrorKind::BadRequest),
    });
    assert_eq!(
        execute(&FakeClient::default(), served.dir(), "where laptop --at 2h").stdout,
        "192.168.1.20\n"
    );
}

#[test]
fn who_prints_the_holder() {
    let dir = TempDir::new().unwrap();
    assert_eq!(
        execute(&FakeClient::default(), dir.path(), "who 192.168.1.20").stdout,
        "laptop\n"
    );
    assert_eq!(
        execute(
            &FakeClient::default(),
            dir.path(),
            "who ::ffff:192.168.1.20"
        )
        .stdout,
        "laptop\n"
    );
    assert_eq!(
        execute(&FakeClient::default(), dir.path(), "who 192.168.1.21").code,
        3
    );
    let served = served(|request| match request {
        Request::Holder { .. } => items([holder(false), holder(false)]),
        _ => refused(ErrorKind::BadRequest),
    });
    let ended = execute(
        &FakeClient::default(),
        served.dir(),
        "who 192.168.1.20 --at 2h",
    );
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "laptop\n"));
}

#[test]
fn nodes_follows_pages_and_passes_its_filter_on() {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let log = requests.clone();
    let served = served(move |request| {
        let Request::Nodes {
            labels,
            absent,
            after,
        } = request
        else {
            return refused(ErrorKind::BadRequest);
        };
        log.lock().unwrap().push((labels.clone(), *absent));
        let mut page: Vec<Response> = (0..PAGE)
            .map(|i| Item::from(node(&format!("n{i}"), &[])).into())
            .collect();
        page.push(Response::End {
            next: after.is_none().then(|| "n499".to_owned()),
        });
        page
    });
    let ended = execute(
        &FakeClient::default(),
        served.dir(),
        "nodes --label site=home --absent",
    );
    assert_eq!((ended.code, ended.stdout.lines().count()), (0, 2 * PAGE));
    let labels = std::collections::BTreeMap::from([("site".to_owned(), "home".to_owned())]);
    assert_eq!(
        *requests.lock().unwrap(),
        [(labels.clone(), true), (labels, true)]
    );
    // A table in parts has one header.
    let table = execute(&FakeClient::default(), served.dir(), "nodes --output table").stdout;
    assert_eq!(
        (table.lines().count(), table.matches("LAST SEEN").count()),
        (2 * PAGE + 1, 1)
    );
}

#[test]
fn forget_needs_the_node_of_a_server() {
    let dir = TempDir::new().unwrap();
    let client = served(|_| refused(ErrorKind::NotServer));
    for dir in [dir.path(), client.dir()] {
        let ended = execute(&FakeClient::default(), dir, "forget laptop");
        assert_eq!(ended.code, 1);
        assert!(
            ended.error.contains("`hereabouts discover --all` lists"),
            "{}",
            ended.error
        );
    }
}

#[test]
fn registry_of_the_network_is_asked_if_this_machine_has_none() {
    let dir = TempDir::new().unwrap();
    let client = served(|_| refused(ErrorKind::NotServer));
    let server: fn(&Request) -> Vec<Item> = |request| match request {
        Request::Nodes { .. } => vec![
            node("laptop", &["10.9.0.5"]).into(),
            node("tablet", &[]).into(),
        ],
        Request::History { .. } | Request::Node { at: Some(_), .. } => vec![interval(None).into()],
        Request::Holder { at: Some(_), .. } => vec![holder(false).into()],
        Request::Watch => vec![views::change().into()],
        _ => Vec::new(),
    };
    let fake = FakeClient {
        server: Some(server),
        ..FakeClient::default()
    };
    for dir in [dir.path(), client.dir()] {
        for (args, code, stdout) in [
            ("nodes", 0, "laptop\ntablet\n"),
            (
                "history laptop",
                0,
                "192.168.1.20\t2026-11-20T18:40:00.000Z\t-\n",
            ),
            ("where laptop --at 2h", 0, "192.168.1.20\n"),
            ("who 192.168.1.20 --at 2h", 0, "laptop\n"),
            ("watch", 1, "2026-11-20T18:40:00.000Z\tarrived\tlaptop\n"),
        ] {
            let ended = execute(&fake, dir, args);
            assert_eq!(
                (ended.code, ended.stdout.as_str()),
                (code, stdout),
                "{args}: {}",
                ended.error
            );
            let ended = execute(&FakeClient::default(), dir, args);
            assert_eq!(
                ended.code, 1,
                "without a server, {args} fails: no answer is not the same as an empty answer"
            );
        }
    }
}

#[test]
fn watch_prints_the_changes_of_the_node_of_this_machine() {
    let served = served(|request| match request {
        Request::Watch => items([views::change()]),
        _ => refused(ErrorKind::BadRequest),
    });
    let table = execute(&FakeClient::default(), served.dir(), "watch --output table").stdout;
    assert!(
        table.contains("arrived")
            && table.contains("10.9.0.5")
            && table.contains("(from 192.0.2.9)"),
        "{table}"
    );
    let json = execute(&FakeClient::default(), served.dir(), "watch --output json").stdout;
    let json: serde_json::Value = serde_json::from_str(json.trim()).unwrap();
    assert_eq!(
        (&json["change"], &json["node"]["name"]),
        (&"arrived".into(), &"laptop".into())
    );
}

#[test]
fn nothing_found_ends_with_3() {
    let served = served(|request| match request {
        Request::Nodes { .. } => vec![Response::END],
        _ => refused(ErrorKind::NotFound),
    });
    let commands = [
        "nodes",
        "history laptop",
        "forget laptop",
        "where laptop",
        "who 10.0.0.1",
        "discover",
        "announce",
    ];
    for args in commands {
        assert_eq!(
            execute(&FakeClient::default(), served.dir(), args).code,
            3,
            "{args}"
        );
    }
}

#[test]
fn announce_fails_only_if_every_server_refused() {
    let dir = TempDir::new().unwrap();
    let fake = |answers: &[Option<&str>]| FakeClient {
        announced: answers.iter().map(|error| announced(*error)).collect(),
        ..FakeClient::default()
    };
    let ended = execute(
        &fake(&[None, Some("the name is held")]),
        dir.path(),
        "announce",
    );
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "192.168.1.4\n"));
    assert_eq!(
        execute(&fake(&[Some("the name is held")]), dir.path(), "announce").code,
        1
    );
}

#[test]
fn announce_prints_no_link_local_address_without_its_zone() {
    let dir = TempDir::new().unwrap();
    let seen = |seen: &str| FakeClient {
        announced: vec![AnnouncedView {
            seen: Some(seen.parse().unwrap()),
            ..announced(None)
        }],
        ..FakeClient::default()
    };
    for (address, plain, json) in [
        ("[fe80::7]:9", "fe80::7%eth0\n", "\"[fe80::7%2]:9\""),
        ("[2001:db8::7]:9", "2001:db8::7\n", "\"[2001:db8::7]:9\""),
        // Of no interface of this machine.
        ("[fe80::8]:9", "", "null"),
    ] {
        let ended = execute(&seen(address), dir.path(), "announce");
        assert_eq!((ended.code, ended.stdout.as_str()), (0, plain), "{address}");
        let ended = execute(&seen(address), dir.path(), "announce --output json");
        let line: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(line["seen"].to_string(), json);
    }
}

#[test]
fn health_prints_why_the_node_is_not_ready() {
    let dir = TempDir::new().unwrap();
    let ended = execute(&FakeClient::default(), dir.path(), "health");
    assert_eq!(ended.code, 1);
    assert!(
        ended
            .stdout
            .starts_with("not ready: no hereabouts runs here"),
        "{}",
        ended.stdout
    );
    for (ready, reason, code, text) in [
        (true, None, 0, "ready\n"),
        (
            false,
            Some("no server yet"),
            1,
            "not ready: no server yet\n",
        ),
    ] {
        let view = HealthView {
            ready,
            reasons: reason.into_iter().map(str::to_owned).collect(),
        };
        let served = served(move |_| items([view.clone()]));
        let ended = execute(&FakeClient::default(), served.dir(), "health");
        assert_eq!((ended.code, ended.stdout.as_str()), (code, text));
    }
}

/// Accepts some writes, then has no reader any more.
struct Closing(usize);

impl std::io::Write for Closing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self
            .0
            .checked_sub(1)
            .ok_or(std::io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn reader_that_closed_the_pipe_is_no_failure() {
    let dir = TempDir::new().unwrap();
    let fake = FakeClient {
        found: vec![found("a"), found("b")],
        ..FakeClient::default()
    };
    let (code, error) = execute_into(&fake, dir.path(), "discover --output json", Closing(0));
    assert_eq!(
        (code, error.as_str()),
        (0, "failed to write to stdout: broken pipe")
    );
    let (code, _) = execute_into(&fake, dir.path(), "discover", Closing(2));
    assert_eq!(code, 0);
}

#[test]
fn labels_cannot_move_the_cursor() {
    let dir = TempDir::new().unwrap();
    let info = Labels::new([("text", "a\u{202e}b")]).unwrap();
    let fake = FakeClient {
        found: vec![FoundView { info, ..found("a") }],
        ..FakeClient::default()
    };
    let table = execute(&fake, dir.path(), "discover --output table").stdout;
    assert!(table.contains("text=a\u{fffd}b site=home"), "{table}");
}

#[test]
fn configuration_that_cannot_be_used_ends_with_64() {
    let dir = TempDir::new().unwrap();
    let (code, error) = execute_with_config(
        &FakeClient::default(),
        dir.path(),
        "role: butler",
        "where laptop",
        Vec::new(),
    );
    assert_eq!(code, 64);
    assert!(
        error.starts_with("the configuration can't be used:\n") && error.contains("role"),
        "{error}"
    );
}

#[test]
fn two_values_of_one_label_are_bad_usage() {
    let dir = TempDir::new().unwrap();
    assert_eq!(
        execute(&FakeClient::default(), dir.path(), "nodes -l a=1 -l a=2").code,
        2
    );
}

#[test]
fn arguments_are_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn doctor_ends_with_0_only_if_all_is_ok() {
    let dir = TempDir::new().unwrap();
    let healthy = FakeClient::default();
    let ended = execute(&healthy, dir.path(), "doctor");
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(
        ended
            .stdout
            .starts_with("ok\tnode_absent\t-\tno hereabouts runs here"),
        "{ended:?}"
    );
    for severity in [Severity::Warning, Severity::Problem] {
        let faulty = FakeClient {
            findings: vec![finding(Code::PortTaken, severity, "taken")],
            ..FakeClient::default()
        };
        assert_eq!(
            execute(&faulty, dir.path(), "doctor").code,
            1,
            "{severity:?}"
        );
    }
}

#[test]
fn doctor_asks_the_node_of_this_machine_and_prints_one_object_a_line() {
    let node = served(|request| match request {
        Request::Status => items([Item::Status(Box::new(views::status()))]),
        _ => refused(ErrorKind::NotFound),
    });
    let faulty = FakeClient {
        findings: vec![finding(Code::PortTaken, Severity::Problem, "taken")],
        ..FakeClient::default()
    };
    let ended = execute(&faulty, node.dir(), "doctor --output json");
    let lines: Vec<FindingView> = ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[0].finding, "'hub' runs");
    assert_eq!(
        ended.stdout.lines().nth(1).unwrap(),
        r#"{"code":"port_taken","severity":"problem","about":"eth0","finding":"taken","remedy":"fix it"}"#
    );
}

#[test]
fn doctor_shows_severity_and_remedy_to_people() {
    let dir = TempDir::new().unwrap();
    let faulty = FakeClient {
        findings: vec![finding(Code::PortTaken, Severity::Problem, "taken")],
        ..FakeClient::default()
    };
    let ended = execute(&faulty, dir.path(), "doctor --output table");
    assert!(
        ended
            .stdout
            .contains("problem  eth0: taken\n         remedy: fix it\n"),
        "{}",
        ended.stdout
    );
    assert!(
        ended.stdout.ends_with("1 ok, 0 warnings, 1 problem\n"),
        "{}",
        ended.stdout
    );
}

#[test]
fn doctor_reports_an_invalid_configuration_as_a_finding() {
    let dir = TempDir::new().unwrap();
    let mut stdout = Vec::new();
    let (code, _) = execute_with_config(
        &FakeClient::default(),
        dir.path(),
        "role: butler",
        "doctor -o json",
        &mut stdout,
    );
    assert_eq!(code, exit::FAILED);
    let reported: FindingView = serde_json::from_slice(&stdout).unwrap();
    assert_eq!(
        (reported.code, reported.severity),
        (Code::ConfigInvalid, Severity::Problem)
    );
    assert!(
        reported.finding.contains("hereabouts.yaml:1:"),
        "{reported:?}"
    );
}
