//! Failures: in `status`, in reports to the server and in the log.

use super::*;

#[tokio::test]
async fn failures_are_shown_here_and_reported_to_the_server() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("offered");
    fs::write(&path, noise(100)).unwrap();
    let mut server = Server::start(1, &path, directory.path());
    server.refresh().await.unwrap();
    let outside = directory.path().join("outside");
    fs::write(&outside, "mine").unwrap();
    let answers = answering("HTTP/1.1 507 Full\r\n\r\nthe shelf is full\nand more").await;
    let nodes = [
        (
            Node::start(|accepted| accepted.path.push("none/file")),
            "must exist",
        ),
        (Node::start(|accepted| accepted.max_size = 99), "max_size"),
        (
            Node::start(|accepted| fs::create_dir(&accepted.path).unwrap()),
            "is a directory",
        ),
        (
            Node::start(|accepted| std::os::unix::fs::symlink(&outside, &accepted.path).unwrap()),
            "is a symbolic link",
        ),
        (
            Node::start(|accepted| {
                accepted.after = Some(After::Webhook(Webhook {
                    url: format!("http://{}/s3cret", answers).parse().unwrap(),
                    headers: Vec::new(),
                    token: Some(zeroize::Zeroizing::new("s3cret".into())),
                    client: crate::net::HttpClient::new(None).unwrap(),
                    limit: SOON,
                }));
            }),
            "answered 507: the shelf is full",
        ),
        (
            Node::start(|accepted| {
                let command = vec!["sh".into(), "-c".into(), "exit 7".into()];
                accepted.after = Some(After::Exec {
                    command,
                    limit: SOON,
                });
            }),
            "exit status: 7",
        ),
    ];
    for (node, expected) in &nodes {
        node.servers(&[server.found()]);
        let report = server.report().await;
        let error = report.error.as_deref().unwrap_or_default();
        assert!(
            error.contains(expected) && !error.contains("s3cret"),
            "{expected}: {report:?}"
        );
        let view = node.accept_view(|view| view.last_attempt.is_some()).await;
        assert_eq!(
            view.error
                .map(|error| error[..error.floor_char_boundary(Report::MAX_ERROR)].to_owned())
                .as_deref(),
            Some(error)
        );
    }
    assert_eq!(fs::read(&outside).unwrap(), b"mine");
    for (node, _) in &nodes[4..] {
        assert_eq!(
            node.content().unwrap(),
            noise(100),
            "the file is in its place, whatever the outcome of the action"
        );
    }
}

#[tokio::test]
async fn failed_action_is_reported_until_a_pull_by_hand_succeeds() {
    let directory = TempDir::new().unwrap();
    let [path, ran, fixed] = ["offered", "ran", "fixed"].map(|name| directory.path().join(name));
    fs::write(&path, noise(100)).unwrap();
    let mut server = Server::start(1, &path, directory.path());
    server.refresh().await.unwrap();
    let command = format!("echo >> {}; test -e {}", ran.display(), fixed.display());
    let after = After::Exec {
        command: ["sh", "-c", &command].map(str::to_owned).to_vec(),
        limit: SOON,
    };
    let runs = || fs::read(&ran).unwrap().len();
    let failed = |report: &Report| {
        report
            .error
            .as_ref()
            .is_some_and(|error| error.contains("the action after it failed"))
    };
    let node = Node::start(|accepted| accepted.after = Some(after.clone()));
    node.servers(&[server.found()]);
    assert!(failed(&server.report().await));
    // Neither another visit nor a restart forgets the failure, or repeats the action.
    node.commands.send(Command::Changed).await.unwrap();
    assert!(failed(&server.report().await));
    let Node {
        commands,
        directory: state,
        ..
    } = node;
    drop(commands);
    let node = Node::start_in(state, |accepted| accepted.after = Some(after.clone()));
    node.servers(&[server.found()]);
    assert!(failed(&server.report().await));
    node.accept_view(|view| view.error.is_some()).await;
    assert_eq!(runs(), 1);
    fs::write(&fixed, "").unwrap();
    assert_eq!(node.pull().await.state, Progress::Done);
    assert_eq!(server.report().await.error, None);
    node.accept_view(|view| view.error.is_none()).await;
    assert_eq!(node.pull().await.state, Progress::Done);
    assert_eq!(runs(), 2, "a successful action is not repeated");
}

/// An HTTP server that sends the same answer to every client.
async fn answering(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut request).await;
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, answer.as_bytes()).await;
        }
    });
    address
}

#[tokio::test]
async fn status_shows_the_file_held_its_server_and_the_last_error() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("offered");
    fs::write(&path, noise(100)).unwrap();
    let server = Server::start(1, &path, directory.path());
    let generation = server.refresh().await.unwrap();
    let node = Node::start(|_| ());
    let untried = node.accept_view(|_| true).await;
    assert_eq!(
        (
            untried.generation,
            untried.server,
            untried.pulled,
            untried.last_attempt
        ),
        (None, None, None, None)
    );
    node.servers(&[server.found()]);
    let view = node.accept_view(|view| view.last_attempt.is_some()).await;
    assert_eq!(
        (view.generation, view.size, view.error.as_deref()),
        (Some(generation), Some(100), None)
    );
    assert_eq!(
        view.digest.unwrap(),
        blake3::hash(&noise(100)).to_hex().as_str()
    );
    assert_eq!(
        (view.server, view.server_name.unwrap().as_str()),
        (Some(server.identity.id()), "hub")
    );
    assert!(view.pulled.unwrap() <= view.last_attempt.unwrap());
    // When the server is absent, the file held is still shown, with the reason why nothing newer is pulled.
    let absent = server.found();
    drop(server);
    node.servers(&[absent]);
    assert_eq!(node.pull().await.state, Progress::Failed);
    let after = node.accept_view(|view| view.error.is_some()).await;
    assert!(after.error.unwrap().contains("no session with hub"));
    assert_eq!(
        (after.generation, after.pulled),
        (Some(generation), view.pulled)
    );
}

/// The log of this thread, kept while the guard exists.
#[derive(Debug, Clone, Default)]
struct Log(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn kept(&self) -> tracing::subscriber::DefaultGuard {
        let log = self.clone();
        tracing::subscriber::set_default(
            tracing_subscriber::fmt()
                .with_writer(move || log.clone())
                .finish(),
        )
    }

    fn count(&self, of: &str) -> usize {
        String::from_utf8_lossy(&self.0.lock().unwrap())
            .matches(of)
            .count()
    }
}

#[tokio::test]
async fn failure_is_logged_once_for_each_generation_and_again_after_a_success() {
    let log = Log::default();
    let _kept = log.kept();
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("offered");
    fs::write(&path, b"one").unwrap();
    let server = Server::start(1, &path, directory.path());
    server.refresh().await.unwrap();
    let fixed = directory.path().join("fixed");
    let command = ["sh", "-c", &format!("test -e {}", fixed.display())]
        .map(str::to_owned)
        .to_vec();
    let node = Node::start(|accepted| {
        accepted.after = Some(After::Exec {
            command,
            limit: SOON,
        })
    });
    node.servers(&[server.found()]);
    let failures = async || {
        assert_eq!(node.pull().await.state, Progress::Failed);
        log.count("was not pulled")
    };
    assert_eq!(failures().await, 1);
    assert_eq!(failures().await, 1, "the same failure is not logged again");
    fs::write(&path, b"two").unwrap();
    server.refresh().await.unwrap();
    assert_eq!(failures().await, 2, "the failure of another generation is");
    fs::write(&fixed, "").unwrap();
    assert_eq!(node.pull().await.state, Progress::Done);
    fs::remove_file(&node.path).unwrap();
    fs::create_dir(&node.path).unwrap();
    assert_eq!(failures().await, 3);
    // The same directory again, after a success.
    fs::remove_dir(&node.path).unwrap();
    assert_eq!(node.pull().await.state, Progress::Done);
    fs::remove_file(&node.path).unwrap();
    fs::create_dir(&node.path).unwrap();
    assert_eq!(failures().await, 4);
}
