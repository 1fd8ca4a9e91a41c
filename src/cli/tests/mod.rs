//! Whole commands, over a made-up network and a real control socket.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::{CommandFactory, Parser};
use tempfile::TempDir;
use tracing_subscriber::filter::LevelFilter;

use super::context::Context;
use super::logging::LogFormat;
use super::network::{Network, Settings};
use super::output::Output;
use super::rank::interface;
use super::{Cli, exit};
use crate::api::control::tests::Served;
use crate::api::control::{AskError, Call};
use crate::api::request::{ErrorKind, Item, PAGE, Request, Response};
use crate::api::view::*;
use crate::model::{Labels, NodeName, State};
use crate::net::Interface;

mod made_up;
mod shapes;

pub(super) use made_up::node;
use made_up::{announced, finding, found, holder, interval};

/// A network where everybody answers what stands here.
#[derive(Clone, Default)]
struct Fake {
    nodes: Vec<NodeView>,
    found: Vec<FoundView>,
    announced: Vec<AnnouncedView>,
    findings: Vec<FindingView>,
    pydiscover: Vec<PydiscoverFoundView>,
    /// What a server of the network answers over a session; without it, there is none.
    remote: Option<fn(&Request) -> Vec<Item>>,
}

struct Opened(Fake, Settings);

impl Network for Opened {
    fn settings(&self) -> &Settings {
        &self.1
    }

    fn interfaces(&self) -> Vec<Interface> {
        vec![interface(2, "eth0", &["192.168.1.4/24"])]
    }

    fn run(&self) -> anyhow::Result<()> {
        anyhow::bail!("port 24373 is taken")
    }

    fn discover(
        &self,
        _all: bool,
        _window: Duration,
        found: &mut dyn FnMut(FoundView) -> ControlFlow<()>,
    ) -> anyhow::Result<()> {
        let _ = self.0.found.iter().cloned().try_for_each(found);
        Ok(())
    }

    fn look_up(&self, name: &NodeName, _limit: Duration) -> anyhow::Result<Option<NodeView>> {
        Ok(self.0.nodes.iter().find(|node| node.name == *name).cloned())
    }

    fn holders(
        &self,
        address: std::net::IpAddr,
        _limit: Duration,
    ) -> anyhow::Result<Vec<HolderView>> {
        Ok([holder(true)]
            .into_iter()
            .filter(|holder| holder.address == address)
            .collect())
    }

    fn ask(
        &self,
        request: &Request,
        _search: Duration,
        _limit: Duration,
        each: &mut dyn FnMut(Item) -> ControlFlow<()>,
    ) -> anyhow::Result<()> {
        let Some(remote) = self.0.remote else {
            anyhow::bail!("no server of this channel answered within 2 s")
        };
        let _ = remote(request).into_iter().try_for_each(each);
        Ok(())
    }

    fn announce(&self, _limit: Duration) -> anyhow::Result<Vec<AnnouncedView>> {
        Ok(self.0.announced.clone())
    }

    fn examine(
        &self,
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
        Ok([node].into_iter().chain(self.0.findings.clone()).collect())
    }

    fn discover_pydiscover(
        &self,
        _window: Duration,
        found: &mut dyn FnMut(PydiscoverFoundView) -> ControlFlow<()>,
    ) -> anyhow::Result<()> {
        let _ = self.0.pydiscover.iter().cloned().try_for_each(found);
        Ok(())
    }

    fn announce_dynip(&self, servers: &[String]) -> anyhow::Result<Vec<AnnounceResult>> {
        Ok(servers
            .iter()
            .map(|server| AnnounceResult {
                server: server.clone(),
                error: None,
            })
            .collect())
    }
}

/// How a command ended.
#[derive(Debug, PartialEq)]
struct Ended {
    code: u8,
    stdout: String,
    error: String,
}

fn execute(fake: &Fake, state_dir: &Path, args: &str) -> Ended {
    let mut stdout = Vec::new();
    let (code, error) = execute_into(fake, state_dir, args, &mut stdout);
    Ended {
        code,
        stdout: String::from_utf8(stdout).unwrap(),
        error,
    }
}

fn execute_into(
    fake: &Fake,
    state_dir: &Path,
    args: &str,
    stdout: impl std::io::Write,
) -> (u8, String) {
    let cli = Cli::try_parse_from(std::iter::once("hereabouts").chain(args.split(' '))).unwrap();
    let settings = Settings {
        state_dir: state_dir.to_owned(),
        log_level: LevelFilter::INFO,
        log_format: LogFormat::Text,
    };
    let fake = fake.clone();
    let open = move |_: Option<&Path>| -> anyhow::Result<Box<dyn Network>> {
        Ok(Box::new(Opened(fake.clone(), settings.clone())))
    };
    let context = Context::new(&open, None);
    let mut output = Output::new(stdout, cli.global.output, false);
    let done = cli.command.run(&cli.global, &context, &mut output);
    match done {
        Ok(code) => (
            if code == std::process::ExitCode::SUCCESS {
                0
            } else {
                exit::FAILED
            },
            String::new(),
        ),
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
    vec![Response::error(kind, "says the node")]
}

#[test]
fn where_asks_the_network_when_no_node_runs_here() {
    let dir = TempDir::new().unwrap();
    let fake = Fake {
        nodes: vec![node("laptop", &["10.9.0.5", "203.0.113.7"])],
        ..Fake::default()
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
        (3, "nobody knows tablet")
    );
}

#[test]
fn where_asks_the_node_of_this_machine_first_and_through_it_the_network() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = asked.clone();
    let served = served(move |request| {
        log.lock().unwrap().push(format!("{request:?}"));
        match request {
            Request::Node { .. } => refused(ErrorKind::NotServer),
            Request::Lookup { .. } => items([node("laptop", &["10.9.0.5"])]),
            _ => refused(ErrorKind::BadRequest),
        }
    });
    let ended = execute(&Fake::default(), served.dir(), "where laptop --first");
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "10.9.0.5\n"));
    assert_eq!(
        *asked.lock().unwrap(),
        [
            r#"Node { name: "laptop", at: None }"#,
            r#"Lookup { name: "laptop" }"#
        ]
    );
}

#[test]
fn where_prints_a_node_that_is_gone() {
    let gone = NodeView {
        state: State::Expired,
        ..node("laptop", &["10.9.0.5"])
    };
    let served = served(move |_| items([gone.clone()]));
    let ended = execute(&Fake::default(), served.dir(), "where laptop --first");
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "10.9.0.5\n"));
}

#[test]
fn where_at_a_time_needs_a_registry() {
    let dir = TempDir::new().unwrap();
    let ended = execute(&Fake::default(), dir.path(), "where laptop --at 2h");
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
        execute(&Fake::default(), served.dir(), "where laptop --at 2h").stdout,
        "192.168.1.20\n"
    );
}

#[test]
fn who_prints_the_holder() {
    let dir = TempDir::new().unwrap();
    assert_eq!(
        execute(&Fake::default(), dir.path(), "who 192.168.1.20").stdout,
        "laptop\n"
    );
    assert_eq!(
        execute(&Fake::default(), dir.path(), "who ::ffff:192.168.1.20").stdout,
        "laptop\n"
    );
    assert_eq!(
        execute(&Fake::default(), dir.path(), "who 192.168.1.21").code,
        3
    );
    let served = served(|request| match request {
        Request::Holder { .. } => items([holder(false), holder(false)]),
        _ => refused(ErrorKind::BadRequest),
    });
    let ended = execute(&Fake::default(), served.dir(), "who 192.168.1.20 --at 2h");
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "laptop\n"));
}

#[test]
fn nodes_follow_pages_and_pass_their_filter_on() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = asked.clone();
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
        &Fake::default(),
        served.dir(),
        "nodes --label site=home --absent",
    );
    assert_eq!((ended.code, ended.stdout.lines().count()), (0, 2 * PAGE));
    let labels = std::collections::BTreeMap::from([("site".to_owned(), "home".to_owned())]);
    assert_eq!(
        *asked.lock().unwrap(),
        [(labels.clone(), true), (labels, true)]
    );
    // A table in parts has one header.
    let table = execute(&Fake::default(), served.dir(), "nodes --output table").stdout;
    assert_eq!(
        (table.lines().count(), table.matches("LAST SEEN").count()),
        (2 * PAGE + 1, 1)
    );
}

#[test]
fn only_forgetting_needs_the_servers_own_machine() {
    let dir = TempDir::new().unwrap();
    let client = served(|_| refused(ErrorKind::NotServer));
    for dir in [dir.path(), client.dir()] {
        let ended = execute(&Fake::default(), dir, "forget laptop");
        assert_eq!(ended.code, 1);
        assert!(
            ended.error.contains("`hereabouts discover --all` lists"),
            "{}",
            ended.error
        );
    }
}

#[test]
fn a_registry_is_asked_over_the_network_where_none_is_here() {
    let dir = TempDir::new().unwrap();
    let client = served(|_| refused(ErrorKind::NotServer));
    let remote: fn(&Request) -> Vec<Item> = |request| match request {
        Request::Nodes { .. } => vec![
            node("laptop", &["10.9.0.5"]).into(),
            node("tablet", &[]).into(),
        ],
        Request::History { .. } | Request::Node { at: Some(_), .. } => vec![interval(None).into()],
        Request::Holder { at: Some(_), .. } => vec![holder(false).into()],
        Request::Watch => vec![made_up::change().into()],
        _ => Vec::new(),
    };
    let fake = Fake {
        remote: Some(remote),
        ..Fake::default()
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
            let ended = execute(&Fake::default(), dir, args);
            assert_eq!(
                ended.code, 1,
                "without a server, {args} fails: nothing is not the same as nobody"
            );
        }
    }
}

#[test]
fn watch_prints_changes_as_the_node_of_this_machine_tells_them() {
    let served = served(|request| match request {
        Request::Watch => items([made_up::change()]),
        _ => refused(ErrorKind::BadRequest),
    });
    let table = execute(&Fake::default(), served.dir(), "watch --output table").stdout;
    assert!(
        table.contains("arrived")
            && table.contains("10.9.0.5")
            && table.contains("(from 192.0.2.9)"),
        "{table}"
    );
    let json = execute(&Fake::default(), served.dir(), "watch --output json").stdout;
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
            execute(&Fake::default(), served.dir(), args).code,
            3,
            "{args}"
        );
    }
}

#[test]
fn announce_fails_only_when_every_server_refused() {
    let dir = TempDir::new().unwrap();
    let fake = |answers: &[Option<&str>]| Fake {
        announced: answers.iter().map(|error| announced(*error)).collect(),
        ..Fake::default()
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
fn health_tells_why_not() {
    let dir = TempDir::new().unwrap();
    let ended = execute(&Fake::default(), dir.path(), "health");
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
        let ended = execute(&Fake::default(), served.dir(), "health");
        assert_eq!((ended.code, ended.stdout.as_str()), (code, text));
    }
}

/// Takes some writes, then has no reader any more.
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
fn a_reader_that_left_is_a_success() {
    let dir = TempDir::new().unwrap();
    let fake = Fake {
        found: vec![found("a"), found("b")],
        ..Fake::default()
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
fn what_labels_say_moves_no_cursor() {
    let dir = TempDir::new().unwrap();
    let info = Labels::new([("text", "a\u{202e}b")]).unwrap();
    let fake = Fake {
        found: vec![FoundView { info, ..found("a") }],
        ..Fake::default()
    };
    let table = execute(&fake, dir.path(), "discover --output table").stdout;
    assert!(table.contains("text=a\u{fffd}b site=home"), "{table}");
}

#[test]
fn a_config_that_cannot_be_used_ends_with_64() {
    let open = |_: Option<&Path>| -> anyhow::Result<Box<dyn Network>> {
        anyhow::bail!("role: expected a role")
    };
    let cli = Cli::try_parse_from(["hereabouts", "where", "laptop"]).unwrap();
    let context = Context::new(&open, None);
    let error = cli
        .command
        .run(
            &cli.global,
            &context,
            &mut Output::new(Vec::new(), None, false),
        )
        .unwrap_err();
    assert_eq!(
        (exit::code(&error), error.to_string().as_str()),
        (64, "role: expected a role")
    );
}

#[test]
fn two_values_of_one_label_are_bad_usage() {
    let dir = TempDir::new().unwrap();
    assert_eq!(
        execute(&Fake::default(), dir.path(), "nodes -l a=1 -l a=2").code,
        2
    );
}

#[test]
fn arguments_are_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn doctor_ends_with_0_only_if_all_is_well() {
    let dir = TempDir::new().unwrap();
    let well = Fake::default();
    let ended = execute(&well, dir.path(), "doctor");
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(
        ended
            .stdout
            .starts_with("ok\tnode_absent\t-\tno hereabouts runs here"),
        "{ended:?}"
    );
    for severity in [Severity::Warning, Severity::Problem] {
        let ill = Fake {
            findings: vec![finding(Code::PortTaken, severity, "taken")],
            ..Fake::default()
        };
        assert_eq!(execute(&ill, dir.path(), "doctor").code, 1, "{severity:?}");
    }
}

#[test]
fn doctor_asks_the_node_of_this_machine_and_prints_an_object_a_line() {
    let node = served(|request| match request {
        Request::Status => items([Item::Status(Box::new(made_up::status()))]),
        _ => refused(ErrorKind::NotFound),
    });
    let ill = Fake {
        findings: vec![finding(Code::PortTaken, Severity::Problem, "taken")],
        ..Fake::default()
    };
    let ended = execute(&ill, node.dir(), "doctor --output json");
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
fn doctor_shows_marks_and_mends_to_people() {
    let dir = TempDir::new().unwrap();
    let ill = Fake {
        findings: vec![finding(Code::PortTaken, Severity::Problem, "taken")],
        ..Fake::default()
    };
    let ended = execute(&ill, dir.path(), "doctor --output table");
    assert!(
        ended
            .stdout
            .contains("problem  eth0: taken\n         mend: mend it\n"),
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
fn doctor_says_that_a_config_is_bad_as_a_finding() {
    let open = |_: Option<&Path>| -> anyhow::Result<Box<dyn Network>> {
        anyhow::bail!("hereabouts.yaml:1:1: bad")
    };
    let cli = Cli::try_parse_from(["hereabouts", "doctor", "-o", "json"]).unwrap();
    let mut stdout = Vec::new();
    let context = Context::new(&open, None);
    let mut output = Output::new(&mut stdout, cli.global.output, false);
    let code = cli.command.run(&cli.global, &context, &mut output).unwrap();
    drop(output);
    assert_eq!(code, std::process::ExitCode::FAILURE);
    let told: FindingView = serde_json::from_slice(&stdout).unwrap();
    assert_eq!(
        (told.code, told.severity),
        (Code::ConfigInvalid, Severity::Problem)
    );
    assert!(
        told.finding.contains("hereabouts.yaml:1:1: bad"),
        "{told:?}"
    );
}
