//! What a node pulls, how a pull resumes, and where servers are.

use super::*;

#[tokio::test]
async fn node_pulls_each_generation_and_reports_it() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("offered");
    fs::write(&path, noise(2_500_000)).unwrap();
    let mut server = Server::start(1, &path, directory.path());
    let first = server.refresh().await.unwrap();
    let node = Node::start(|_| ());
    node.servers(&[server.found()]);
    assert_eq!(server.report().await, report(first));
    assert_eq!(node.content().unwrap(), noise(2_500_000));

    // New content is a new generation; a touch is none.
    fs::write(&path, b"small").unwrap();
    assert_eq!(server.refresh().await.unwrap(), first + 1);
    fs::write(&path, b"small").unwrap();
    assert_eq!(server.refresh().await.unwrap(), first + 1);
    let view = node.pull().await;
    assert_eq!(
        (view.state, view.generation),
        (Progress::Done, first + 1),
        "{view:?}"
    );
    assert_eq!(node.content().unwrap(), b"small");

    // A restart of the server keeps the count.
    drop(server);
    let server = Server::start(1, &path, directory.path());
    assert_eq!(server.refresh().await.unwrap(), first + 1);
}

#[tokio::test]
async fn change_is_offered_without_a_request() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("offered");
    fs::write(&path, b"one").unwrap();
    let mut server = Server::start(1, &path, directory.path());
    let first = server.refresh().await.unwrap();
    fs::write(directory.path().join("new"), b"another").unwrap();
    fs::rename(directory.path().join("new"), &path).unwrap();
    server.newer(first).await;
    let node = Node::start(|_| ());
    node.servers(&[server.found()]);
    assert_eq!(node.pull().await.state, Progress::Done);
    assert_eq!(node.content().as_deref(), Some(&b"another"[..]));
}

#[tokio::test]
async fn pull_resumes_where_the_connection_was_lost() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("offered");
    let content = noise(8_000_000);
    fs::write(&path, &content).unwrap();
    let server = Server::start(1, &path, directory.path());
    server.refresh().await.unwrap();
    // A proxy cuts the connection after 3 MB.
    let cut = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = cut.local_addr().unwrap();
    let behind = server.address;
    tokio::spawn(async move {
        let (near, _) = cut.accept().await.unwrap();
        let far = tokio::net::TcpStream::connect(behind).await.unwrap();
        let (mut near_read, mut near_write) = near.into_split();
        let (far_read, mut far_write) = far.into_split();
        let up = tokio::spawn(async move { tokio::io::copy(&mut near_read, &mut far_write).await });
        tokio::io::copy(
            &mut tokio::io::AsyncReadExt::take(far_read, 3_000_000),
            &mut near_write,
        )
        .await
        .unwrap();
        up.abort();
    });
    let node = Node::start(|_| ());
    node.servers(&[found(address, &server.identity)]);
    let view = node.pull().await;
    assert_eq!(view.state, Progress::Failed, "{view:?}");
    assert_eq!(node.content(), None);
    // The server can be reached again at its own address.
    node.servers(&[server.found()]);
    let before = server.content_bytes();
    let view = node.pull().await;
    assert_eq!(view.state, Progress::Done, "{view:?}");
    assert_eq!(node.content().unwrap(), content);
    let again = server.content_bytes() - before;
    assert!(
        again <= 8_000_000 - 2_000_000,
        "{again} bytes were sent again, though some were held"
    );
}

#[tokio::test]
async fn pull_resumes_after_the_server_closed_an_idle_session() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("offered");
    let content = noise(3_000_000);
    fs::write(&path, &content).unwrap();
    let server = Server::with_idle(1, &path, directory.path(), Duration::from_secs(2));
    let generation = server.refresh().await.unwrap();
    let digest = blake3::hash(&content).into();
    let target = directory.path().join("target");
    Target::open(&target, 0o644)
        .unwrap()
        .part(3_000_000, &digest)
        .unwrap()
        .write(&content[..1_000_000])
        .unwrap();
    let found = server.found();
    let key_ring = key_ring();
    let identity = Identity::from_seed(&[77; 32]);
    let mut session = found.connect(&key_ring, "home").await.unwrap();
    let notice = Notice::sign(
        &server.identity,
        session.key(),
        "catalogue",
        generation,
        3_000_000,
        digest,
    )
    .unwrap();
    // The wait stands for the time that hashing the part takes.
    let closed = async {
        while server.counter("idle") == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, closed).await.unwrap();
    let dialer = puller::Dialer {
        server: &found,
        key_ring: &key_ring,
        channel: "home",
        identity: &identity,
    };
    let destination = fetch::Destination {
        path: target.clone(),
        mode: 0o644,
        owner: None,
        content_differs: false,
    };
    let received = fetch::fetch(&mut session, dialer, &notice, destination, &mut |_| ())
        .await
        .unwrap();
    assert_eq!(
        (received, fs::read(&target).unwrap() == content),
        (2_000_000, true)
    );
}

#[tokio::test]
async fn existing_file_with_the_content_is_not_pulled_and_gets_its_mode() {
    use std::os::unix::fs::PermissionsExt;
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("offered");
    fs::write(&path, noise(100)).unwrap();
    let server = Server::start(1, &path, directory.path());
    let generation = server.refresh().await.unwrap();
    let node = Node::start(|accepted| {
        fs::write(&accepted.path, noise(100)).unwrap();
        fs::set_permissions(&accepted.path, fs::Permissions::from_mode(0o600)).unwrap();
    });
    node.servers(&[server.found()]);
    node.accept_view(|view| view.generation == Some(generation))
        .await;
    assert_eq!(
        fs::metadata(&node.path).unwrap().permissions().mode() & 0o777,
        0o644
    );
    assert_eq!(server.content_bytes(), 0, "the content existed already");
}

#[test]
fn server_that_moved_or_set_its_clock_is_published_again() {
    let (published, mut servers) = watch::channel(Vec::new());
    let (id, name) = (NodeId([1; 32]), "hub".parse().unwrap());
    let mut now = |address: &str, clock: i64| {
        publish_servers(
            &published,
            std::iter::once((address.parse().unwrap(), id, &name, clock)),
        );
        let changed = servers.has_changed().unwrap();
        let server = servers.borrow_and_update()[0].clone();
        assert_eq!(
            (server.address.to_string().as_str(), server.clock_ahead),
            (address, clock)
        );
        changed
    };
    assert!(now("10.0.0.1:24373", 5));
    assert!(
        !now("10.0.0.1:24373", 5),
        "an unchanged server is not published again"
    );
    assert!(now("10.0.0.9:24373", 5));
    assert!(now("10.0.0.9:24373", 3_600_005));
    publish_servers(&published, std::iter::empty());
    assert!(servers.borrow().is_empty());
}

#[tokio::test]
async fn server_that_moves_during_a_round_is_visited_and_the_failure_of_another_is_not_shown() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("offered");
    fs::write(&path, b"one").unwrap();
    let server = Server::start(1, &path, directory.path());
    server.refresh().await.unwrap();
    // The other server accepts the connection, and closes it on request.
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let other_found = found(other.local_addr().unwrap(), &Identity::from_seed(&[2; 32]));
    // No process listens at the old address of the server.
    let old = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let node = Node::start(|_| ());
    node.servers(&[other_found.clone(), found(old, &server.identity)]);
    let moves = async {
        let connection = other.accept().await.unwrap();
        node.servers(&[other_found.clone(), server.found()]);
        drop(connection);
        drop(other);
    };
    let (views, ()) = tokio::join!(node.pull_views(), moves);
    let states: Vec<_> = views
        .iter()
        .map(|view| view.state)
        .filter(|state| *state != Progress::Pulling)
        .collect();
    assert_eq!(states, [Progress::Done], "{views:?}");
    assert_eq!(node.content().as_deref(), Some(&b"one"[..]));
    let view = node.accept_view(|view| view.last_attempt.is_some()).await;
    assert_eq!(view.error, None);
}

#[tokio::test]
async fn server_that_set_its_clock_is_visited_at_once_after_many_failures() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("offered");
    fs::write(&path, b"one").unwrap();
    let mut server = Server::start(1, &path, directory.path());
    let first = server.refresh().await.unwrap();
    let node = Node::start(|_| ());
    node.servers(&[Peer {
        clock_ahead: 3_600_000,
        ..server.found()
    }]);
    // After these failures the next scheduled visit is a minute away.
    for _ in 0..7 {
        assert_eq!(node.pull().await.state, Progress::Failed);
    }
    node.servers(&[server.found()]);
    assert_eq!(
        timeout(SOON / 2, server.report()).await.unwrap(),
        report(first)
    );
}

#[tokio::test]
async fn node_with_a_broken_connection_reports_the_generation_and_a_retry() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("offered");
    fs::write(&path, noise(8_000_000)).unwrap();
    let mut server = Server::start(1, &path, directory.path());
    let first = server.refresh().await.unwrap();
    let proxy = Proxy::to(server.address, 3_000_000).await;
    let node = Node::start(|_| ());
    node.servers(&[found(proxy.address, &server.identity)]);
    timeout(SOON, proxy.held).await.unwrap().unwrap();
    proxy.decision.send(false).unwrap();
    let broken = server.report().await;
    assert!(
        broken
            .error
            .as_ref()
            .is_some_and(|error| error.contains("resumes there")),
        "{broken:?}"
    );
    assert_eq!(
        (broken.generation, broken.attempted, broken.again),
        (0, Some(first), true)
    );
    assert_eq!(server.report().await, report(first), "the retry succeeds");
    assert!(node.content().unwrap() == noise(8_000_000));
}
