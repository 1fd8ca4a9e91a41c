//! Servers that lie, and members that are not the server of a file.

use super::*;

#[tokio::test]
async fn file_of_another_server_is_refused() {
    let directory = TempDir::new().unwrap();
    let genuine = directory.path().join("genuine");
    let forged = directory.path().join("forged");
    fs::write(&genuine, b"genuine").unwrap();
    fs::write(&forged, b"forged").unwrap();
    let server = Server::start(1, &genuine, directory.path());
    server.refresh().await.unwrap();
    let other_state = TempDir::new().unwrap();
    let member = Server::start(2, &forged, other_state.path());
    member.refresh().await.unwrap();
    let node = Node::start(|_| ());
    node.servers(&[server.found()]);
    assert_eq!(node.pull().await.state, Progress::Done);
    node.servers(&[member.found()]);
    let view = node.pull().await;
    assert!(
        view.error.unwrap().contains("files.accept"),
        "{:?}",
        view.state
    );
    assert_eq!(node.content().unwrap(), b"genuine");
}

/// A member of the channel that serves other bytes than it signed, or signs in the name of another server.
async fn liar(identity: Identity, signer: Identity, content: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut session) = session::accept(stream, &key_ring(), "home", |_, _| true).await
            else {
                continue;
            };
            let digest = blake3::hash(b"what was promised").into();
            let mut notice =
                Notice::sign(&signer, session.key(), "catalogue", 9, 17, digest).unwrap();
            notice.server = identity.id();
            while let Ok(Some(request)) = session.request().await {
                match request {
                    crate::wire::session::Request::Offers => {
                        session.queue(&Answer::Offer(notice.clone())).unwrap()
                    }
                    crate::wire::session::Request::Pull { .. } => {
                        session
                            .queue(&Answer::File {
                                notice: notice.clone(),
                                offset: 0,
                            })
                            .unwrap();
                        content
                            .chunks(MAX_CONTENT)
                            .for_each(|part| session.queue(&Answer::Content(part)).unwrap());
                    }
                    _ => {}
                }
                session.queue(&Answer::End).unwrap();
                if session.flush().await.is_err() {
                    break;
                }
            }
        }
    });
    address
}

#[tokio::test]
async fn unsigned_bytes_never_replace_the_file() {
    let identity = Identity::from_seed(&[1; 32]);
    for (content, expected) in [
        (&b"what was PROMISED"[..], "digest"),
        (b"too short", "too soon"),
        (b"what was promised and more of it", "longer"),
    ] {
        let address = liar(identity.clone(), identity.clone(), content).await;
        let node = Node::start(|_| ());
        fs::write(&node.path, "old").unwrap();
        node.servers(&[found(address, &identity)]);
        let view = node.pull().await;
        assert!(
            view.error
                .as_deref()
                .is_some_and(|error| error.contains(expected)),
            "{expected}: {view:?}"
        );
        assert_eq!(node.content().unwrap(), b"old");
    }
}

#[tokio::test]
async fn offer_with_a_forged_signature_is_refused_and_reported() {
    let victim = Identity::from_seed(&[1; 32]);
    let member = Identity::from_seed(&[2; 32]);
    let address = liar(victim.clone(), member, b"what was promised").await;
    let node = Node::start(|_| ());
    node.servers(&[found(address, &victim)]);
    let view = node.pull().await;
    assert_eq!(view.state, Progress::Failed, "{view:?}");
    assert!(view.error.is_some_and(
        |error| error.contains(&victim.id().to_string()) && error.contains("signature")
    ));
    assert_eq!(node.content(), None);
}

#[tokio::test]
async fn reports_need_an_introduction() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("offered");
    fs::write(&path, "x").unwrap();
    let server = Server::start(1, &path, directory.path());
    let mut session = server.found().connect(&key_ring(), "home").await.unwrap();
    session
        .ask(&crate::wire::session::Request::Report(report(5)))
        .await
        .unwrap();
    assert!(matches!(
        session.answer().await.unwrap(),
        Answer::Failed { .. }
    ));
    // An introduction of another session proves nothing in this one.
    let introduction =
        crate::wire::session::Request::introduce(&Identity::from_seed(&[5; 32]), &[0; 32]);
    session.ask(&introduction).await.unwrap();
    assert!(matches!(
        session.answer().await.unwrap(),
        Answer::Failed { .. }
    ));
}
