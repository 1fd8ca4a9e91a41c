//! Real sockets in a temporary directory; the node behind them is a closure.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::server::{Limits, serve_within};
use super::*;
use crate::api::request::{ErrorKind, Item};
use crate::api::view::HealthView;

const LIMIT: Duration = Duration::from_secs(20);

/// Far longer than any answer here takes.
const PATIENT: Limits = Limits {
    idle: LIMIT,
    call: LIMIT,
};
/// Long enough to send a request on a machine that is busy, short enough to wait for.
const HASTY: Limits = Limits {
    idle: Duration::from_secs(1),
    call: LIMIT,
};

/// A served control socket; the server ends when it is dropped.
pub(crate) struct Served {
    dir: TempDir,
    _stop: oneshot::Sender<()>,
}

impl Served {
    /// Serves with a node that calls `node` for every request.
    pub(crate) fn new(node: impl FnMut(Call) + Send + 'static) -> Self {
        Self::within(PATIENT, node)
    }

    fn within(limits: Limits, mut node: impl FnMut(Call) + Send + 'static) -> Self {
        let dir = TempDir::new().unwrap();
        let path = dir.path().to_owned();
        let (stop, mut stopped) = oneshot::channel();
        let (bound, listens) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let listener = Listener::bind(&path).unwrap();
                bound.send(()).unwrap();
                let (calls, mut queue) = mpsc::channel(4);
                let mut serving = std::pin::pin!(serve_within(listener, calls, limits));
                loop {
                    tokio::select! {
                        () = &mut serving => return,
                        Some(call) = queue.recv() => node(call),
                        _ = &mut stopped => return,
                    }
                }
            });
        });
        listens.recv_timeout(LIMIT).unwrap();
        Self { dir, _stop: stop }
    }

    /// The state directory.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn path(&self) -> PathBuf {
        socket_path(self.dir.path())
    }

    fn connect(&self) -> BufReader<UnixStream> {
        let stream = UnixStream::connect(self.path()).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        BufReader::new(stream)
    }
}

fn healthy(call: Call) {
    let view = HealthView {
        ready: true,
        reasons: Vec::new(),
    };
    call.reply.try_send(view.into()).unwrap();
    call.reply.try_send(Response::END).unwrap();
}

fn line(stream: &mut BufReader<UnixStream>) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    line
}

fn bind(dir: &TempDir) -> Result<Listener, BindError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let _guard = runtime.enter();
    Listener::bind(dir.path())
}

#[test]
fn socket_belongs_to_its_owner_alone() {
    let served = Served::new(healthy);
    let mode = std::fs::metadata(served.path())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn one_connection_carries_many_requests() {
    let served = Served::new(healthy);
    let mut stream = served.connect();
    for _ in 0..3 {
        stream
            .get_mut()
            .write_all(b"{\"type\":\"health\"}\n")
            .unwrap();
        assert_eq!(
            line(&mut stream),
            "{\"type\":\"item\",\"item\":{\"health\":{\"ready\":true,\"reasons\":[]}}}\n"
        );
        assert_eq!(line(&mut stream), "{\"type\":\"end\",\"next\":null}\n");
    }
}

#[test]
fn unknown_request_is_refused_and_the_next_one_answered() {
    let served = Served::new(healthy);
    let mut stream = served.connect();
    stream
        .get_mut()
        .write_all(b"{\"type\":\"explode\"}\nnot json\n{\"type\":\"health\"}\n")
        .unwrap();
    assert!(line(&mut stream).starts_with(
        "{\"type\":\"error\",\"kind\":\"bad_request\",\"message\":\"the request can't be read"
    ));
    assert!(line(&mut stream).starts_with("{\"type\":\"error\",\"kind\":\"bad_request\""));
    assert!(line(&mut stream).contains("\"ready\":true"));
}

#[test]
fn oversized_line_is_refused_and_the_connection_closed() {
    let served = Served::new(healthy);
    let mut stream = served.connect();
    // The server may close the connection before it read everything.
    let _ = stream.get_mut().write_all(&[b'x'; MAX_REQUEST + 1]);
    let _ = stream.get_mut().write_all(b"\n");
    assert!(line(&mut stream).contains("the request line is over 65536 bytes"));
    let mut rest = Vec::new();
    let closed = stream.read_to_end(&mut rest);
    assert!(
        matches!(closed, Ok(0))
            || closed.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset)
    );
}

#[test]
fn connection_beyond_the_limit_gets_the_reason() {
    let served = Served::new(healthy);
    let mut open: Vec<_> = (0..MAX_CONNECTIONS).map(|_| served.connect()).collect();
    // Connections are accepted in order, so the last one shows that all were.
    let last = open.last_mut().unwrap();
    last.get_mut()
        .write_all(b"{\"type\":\"health\"}\n")
        .unwrap();
    line(last);
    let error = ask(&served.path(), &Request::Health, LIMIT)
        .unwrap()
        .next()
        .unwrap()
        .unwrap_err();
    assert!(
        matches!(&error, AskError::Refused { kind: ErrorKind::Busy, message } if message.contains("32 connections"))
    );
    open.clear();
    let deadline = std::time::Instant::now() + LIMIT;
    while ask(&served.path(), &Request::Health, LIMIT)
        .unwrap()
        .next()
        .unwrap()
        .is_err()
    {
        assert!(
            std::time::Instant::now() < deadline,
            "a closed connection must make room"
        );
        std::thread::yield_now();
    }
}

#[test]
fn reply_dropped_without_an_end_is_a_failure() {
    let served = Served::new(drop);
    let error = ask(&served.path(), &Request::Status, LIMIT)
        .unwrap()
        .next()
        .unwrap()
        .unwrap_err();
    assert!(
        matches!(
            error,
            AskError::Refused {
                kind: ErrorKind::Failed,
                ..
            }
        ),
        "{error:?}"
    );
}

#[test]
fn caller_follows_pages_to_their_end() {
    let served = Served::new(|call| {
        let Request::Nodes { after, .. } = &call.request else {
            panic!("{:?}", call.request)
        };
        let page: usize = after.as_deref().map_or(0, |after| after.parse().unwrap());
        for i in 0..PAGE {
            let reasons = vec![(page * PAGE + i).to_string()];
            call.reply
                .try_send(
                    HealthView {
                        ready: true,
                        reasons,
                    }
                    .into(),
                )
                .unwrap();
        }
        let next = (page < 2).then(|| (page + 1).to_string());
        call.reply.try_send(Response::End { next }).unwrap();
    });
    let request = Request::Nodes {
        labels: Default::default(),
        absent: false,
        after: None,
    };
    let items: Vec<_> = ask(&served.path(), &request, LIMIT)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(items.len(), 3 * PAGE);
    let last = HealthView {
        ready: true,
        reasons: vec![(3 * PAGE - 1).to_string()],
    };
    assert_eq!(items.last(), Some(&Item::Health(last)));
}

/// A page of large items fills the socket's buffer, so the server has to wait for its reader.
fn large_page(call: Call) {
    for _ in 0..PAGE {
        let reasons = vec!["x".repeat(8 * 1024)];
        call.reply
            .try_send(
                HealthView {
                    ready: false,
                    reasons,
                }
                .into(),
            )
            .unwrap();
    }
    call.reply.try_send(Response::END).unwrap();
}

#[test]
fn connection_without_a_request_is_closed() {
    let served = Served::within(HASTY, healthy);
    let mut stream = served.connect();
    stream.get_mut().write_all(b"{\"type\":").unwrap();
    let closed = stream.read(&mut [0; 1]);
    assert!(
        matches!(closed, Ok(0)),
        "half a request is not a request: {closed:?}"
    );
}

#[test]
fn caller_that_reads_nothing_is_closed() {
    let (dropped, watched) = std::sync::mpsc::channel();
    let served = Served::within(HASTY, move |call| {
        large_page(Call {
            request: call.request,
            reply: call.reply.clone(),
        });
        dropped.send(call.reply).unwrap();
    });
    let mut stream = served.connect();
    stream
        .get_mut()
        .write_all(b"{\"type\":\"status\"}\n")
        .unwrap();
    // The server drops the reply channel when it gives the caller up.
    let reply = watched.recv_timeout(LIMIT).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime
        .block_on(async { timeout(LIMIT, reply.closed()).await })
        .unwrap();
    let mut received = Vec::new();
    stream.read_to_end(&mut received).unwrap();
    assert!(received.len() < PAGE * 8 * 1024, "the answer was cut off");
}

#[test]
fn node_that_takes_too_long_is_a_failure() {
    let (kept, _keep) = std::sync::mpsc::channel();
    let limits = Limits {
        idle: LIMIT,
        call: Duration::from_millis(50),
    };
    let served = Served::within(limits, move |call| drop(kept.send(call)));
    let error = ask(&served.path(), &Request::Status, LIMIT)
        .unwrap()
        .next()
        .unwrap()
        .unwrap_err();
    assert!(
        matches!(&error, AskError::Refused { kind: ErrorKind::Failed, message } if message.contains("in time"))
    );
}

#[test]
fn silent_node_times_out() {
    let dir = TempDir::new().unwrap();
    let _silent = UnixListener::bind(socket_path(dir.path())).unwrap();
    let limit = Duration::from_millis(50);
    let error = ask(&socket_path(dir.path()), &Request::Health, limit)
        .unwrap()
        .next()
        .unwrap()
        .unwrap_err();
    assert!(matches!(error, AskError::TimedOut { .. }), "{error:?}");
}

#[test]
fn answer_of_another_program_is_an_error() {
    for (bytes, reason) in [
        ("HTTP/1.1 400\n", "expected value"),
        ("", "ends too soon"),
        ("{\"type\":\"end\"", "too soon"),
    ] {
        let dir = TempDir::new().unwrap();
        let other = UnixListener::bind(socket_path(dir.path())).unwrap();
        let server = std::thread::spawn(move || {
            let mut stream = BufReader::new(other.accept().unwrap().0);
            line(&mut stream);
            stream.get_mut().write_all(bytes.as_bytes()).unwrap();
        });
        let error = ask(&socket_path(dir.path()), &Request::Health, LIMIT)
            .unwrap()
            .next()
            .unwrap()
            .unwrap_err();
        assert!(
            matches!(&error, AskError::WrongAnswer { reason: r } if r.contains(reason)),
            "{error:?}"
        );
        server.join().unwrap();
    }
}

#[test]
fn stale_socket_is_replaced() {
    let dir = TempDir::new().unwrap();
    drop(UnixListener::bind(socket_path(dir.path())).unwrap());
    assert!(
        socket_path(dir.path()).exists(),
        "std does not remove the file"
    );
    let listener = bind(&dir).unwrap();
    assert_eq!(listener.path(), socket_path(dir.path()));
}

#[test]
fn socket_of_a_running_process_is_kept_and_its_pid_reported() {
    let dir = TempDir::new().unwrap();
    let running = bind(&dir).unwrap();
    let error = bind(&dir).unwrap_err();
    assert!(
        matches!(error, BindError::Running { pid: Some(pid), .. } if pid == std::process::id()),
        "{error:?}"
    );
    assert!(
        error
            .to_string()
            .starts_with("another hereabouts runs here, PID "),
        "{error}"
    );
    assert!(
        running.path().exists(),
        "the refused one leaves the socket alone"
    );
    drop(running);
    assert!(!socket_path(dir.path()).exists());
    bind(&dir).unwrap();
}

#[test]
fn socket_of_a_running_process_without_a_lock_is_kept() {
    let dir = TempDir::new().unwrap();
    let _other = UnixListener::bind(socket_path(dir.path())).unwrap();
    assert!(matches!(bind(&dir), Err(BindError::Running { .. })));
}

#[test]
fn file_that_is_not_a_socket_is_not_removed() {
    let dir = TempDir::new().unwrap();
    std::fs::write(socket_path(dir.path()), "precious").unwrap();
    assert!(matches!(bind(&dir), Err(BindError::NotSocket { .. })));
    assert_eq!(
        std::fs::read_to_string(socket_path(dir.path())).unwrap(),
        "precious"
    );
}

#[test]
fn path_that_no_socket_can_have_is_reported() {
    let dir = TempDir::new().unwrap();
    let deep = dir.path().join("d".repeat(100));
    let path = socket_path(&deep);
    let length = path.as_os_str().len();
    let error = ask(&path, &Request::Health, LIMIT).unwrap_err();
    assert!(matches!(error, AskError::TooLong { length: l, .. } if l == length));
    assert!(matches!(
        Listener::bind(&deep),
        Err(BindError::TooLong { .. })
    ));
}

#[test]
fn caller_reports_why_no_node_can_be_queried() {
    let dir = TempDir::new().unwrap();
    let path = socket_path(dir.path());
    assert!(
        matches!(
            ask(&path, &Request::Health, LIMIT),
            Err(AskError::NoNode { .. })
        ),
        "no file"
    );
    drop(UnixListener::bind(&path).unwrap());
    assert!(
        matches!(
            ask(&path, &Request::Health, LIMIT),
            Err(AskError::NoNode { .. })
        ),
        "the file of a dead process"
    );
    let error = AskError::NoPermission {
        path,
        owner: Some(990),
    };
    assert!(
        error.to_string().contains("run this as user id 990"),
        "{error}"
    );
}
