//! Damaged ledgers, and ledgers on a slow disk.

use super::*;
use crate::durable::blocked::Disk;

#[tokio::test]
async fn node_with_a_damaged_ledger_pulls_nothing_and_keeps_the_ledger() {
    let directory = TempDir::new().unwrap();
    let genuine = directory.path().join("genuine");
    let other = directory.path().join("other");
    fs::write(&genuine, "genuine").unwrap();
    fs::write(&other, "forged").unwrap();
    let server = Server::start(1, &genuine, directory.path());
    server.refresh().await.unwrap();
    let other_state = TempDir::new().unwrap();
    let member = Server::start(2, &other, other_state.path());
    member.refresh().await.unwrap();
    let node = Node::start(|_| ());
    node.servers(&[server.found()]);
    assert_eq!(node.pull().await.state, Progress::Done);
    let Node {
        commands,
        directory: state,
        ..
    } = node;
    drop(commands);
    let ledger = state.path().join("accepted.json");
    let whole = fs::read(&ledger).unwrap();
    fs::write(&ledger, &whole[..50]).unwrap();

    let node = Node::start_in(state, |_| ());
    let is_damaged =
        |error: Option<&str>| error.is_some_and(|error| error.contains("accepted.json is damaged"));
    node.accept_view(|view| is_damaged(view.error.as_deref()))
        .await;
    node.servers(&[member.found()]);
    let view = node.pull().await;
    assert!(
        view.state == Progress::Failed && is_damaged(view.error.as_deref()),
        "{view:?}"
    );
    let (reply, outcome) = tokio::sync::oneshot::channel();
    let check = puller::Received {
        name: "catalogue".into(),
        file: None,
        reply,
    };
    node.commands.send(Command::Received(check)).await.unwrap();
    assert!(
        is_damaged(
            timeout(SOON, outcome)
                .await
                .unwrap()
                .unwrap()
                .err()
                .as_deref()
        ),
        "a file of an old base is not accepted either"
    );
    assert_eq!(node.content().unwrap(), b"genuine");
    assert!(is_damaged(
        node.accept_view(|view| view.last_attempt.is_some())
            .await
            .error
            .as_deref()
    ));
    assert_eq!(
        fs::read(&ledger).unwrap(),
        whole[..50],
        "the damaged ledger is not overwritten"
    );

    // A restored ledger names the file's server again; without a ledger the first server is trusted.
    fs::write(&ledger, &whole).unwrap();
    let view = node.pull().await;
    assert!(
        view.error
            .as_ref()
            .is_some_and(|error| error.contains("files.accept")),
        "{view:?}"
    );
    node.servers(&[server.found()]);
    assert_eq!(node.pull().await.state, Progress::Done);
    let Node {
        commands,
        directory: state,
        ..
    } = node;
    drop(commands);
    fs::remove_file(&ledger).unwrap();
    let node = Node::start_in(state, |_| ());
    node.servers(&[member.found()]);
    assert_eq!(node.pull().await.state, Progress::Done);
    assert_eq!(node.content().unwrap(), b"forged");
}

#[tokio::test]
async fn sessions_continue_while_a_ledger_is_written() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("offered");
    fs::write(&path, b"one").unwrap();
    let ledger = directory.path().join("offers.json");
    let disk = Disk::block(ledger.clone());
    let (events, _received) = mpsc::channel(16);
    let keeper = Keeper::new(
        Offers::new([("catalogue".into(), path.clone())]),
        NodeId([1; 32]),
        ledger,
        events,
    );
    let (_refreshes, requests) = mpsc::channel(8);
    let keeper = tokio::spawn(keeper.run(requests));
    until(|| disk.is_awaited()).await;
    drop(disk);
    keeper.abort();

    let state = TempDir::new().unwrap();
    let server = Server::start(1, &path, state.path());
    server.refresh().await.unwrap();
    let state_of_node = TempDir::new().unwrap();
    let disk = Disk::block(state_of_node.path().join("accepted.json"));
    let node = Node::start_in(state_of_node, |_| ());
    node.servers(&[server.found()]);
    until(|| disk.is_awaited()).await;
    assert!(node.content().is_some());
}
