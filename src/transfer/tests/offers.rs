//! Offered files that change, also during a pull.

use super::*;

/// Longer than all buffers of a connection.
const LONG: usize = 32_000_000;

/// Changes an offered file during a pull. Returns which contents the target had, in their order, and the reports until the
/// node held the second content.
///
/// `change` gets the path and the second content.
async fn changed_under_a_pull(change: impl FnOnce(&Path, &[u8])) -> (Vec<u8>, Vec<Report>) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("offered");
    let contents = [noise(LONG), noise(LONG + 1)[1..].to_vec()];
    fs::write(&path, &contents[0]).unwrap();
    let mut server = Server::start(1, &path, directory.path());
    let first = server.refresh().await.unwrap();
    let proxy = Proxy::to(server.address, 3_000_000).await;
    let node = Node::start(|_| ());
    node.servers(&[found(proxy.address, &server.identity)]);
    timeout(SOON, proxy.held).await.unwrap().unwrap();
    change(&path, &contents[1]);
    assert_eq!(server.refresh().await.unwrap(), first + 1);
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let watcher = std::thread::spawn({
        let target = node.path.clone();
        move || {
            let mut seen: Vec<u8> = Vec::new();
            loop {
                // The last poll is after the end.
                let last = stopped.recv_timeout(Duration::from_millis(20)).is_ok();
                if let Ok(content) = fs::read(&target) {
                    let which = contents
                        .iter()
                        .position(|known| *known == content)
                        .expect("the target is never a mix");
                    let which = u8::try_from(which).unwrap() + 1;
                    if seen.last() != Some(&which) {
                        seen.push(which);
                    }
                }
                if last {
                    return seen;
                }
            }
        }
    });
    proxy.decision.send(true).unwrap();
    let mut reports = vec![server.report().await];
    node.commands.send(Command::Changed).await.unwrap();
    while reports.last().unwrap().generation <= first {
        reports.push(server.report().await);
    }
    stop.send(()).unwrap();
    assert_eq!(*reports.last().unwrap(), report(first + 1));
    (watcher.join().unwrap(), reports)
}

#[tokio::test]
async fn rename_over_a_file_being_pulled_affects_only_the_next_pull() {
    let (seen, reports) = changed_under_a_pull(|path, content| {
        fs::write(path.with_extension("new"), content).unwrap();
        fs::rename(path.with_extension("new"), path).unwrap();
    })
    .await;
    assert_eq!(reports[0].error, None, "{reports:?}");
    // A slow watcher may miss the first content.
    assert!(seen == [1, 2] || seen == [2], "{seen:?}");
}

#[tokio::test]
async fn write_into_a_file_being_pulled_ends_that_pull_and_the_next_gets_the_new_content() {
    let (seen, reports) =
        changed_under_a_pull(|path, content| fs::write(path, content).unwrap()).await;
    assert!(
        reports[0]
            .error
            .as_ref()
            .is_some_and(|error| error.contains("was written")),
        "{reports:?}"
    );
    assert!(reports[0].again, "{reports:?}");
    assert_eq!(seen, [2]);
}

#[tokio::test]
async fn file_that_is_written_for_a_while_is_offered_once_afterwards() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("offered");
    fs::write(&path, b"").unwrap();
    let mut server = Server::start(1, &path, directory.path());
    let first = server.refresh().await.unwrap();
    while server.events.try_recv().is_ok() {}
    // The file is overwritten repeatedly. A round in which a busy machine stopped the writer proves nothing, and is repeated.
    let mut generation = first;
    let has_written = loop {
        let path = path.clone();
        let from = generation;
        let writer = tokio::task::spawn_blocking(move || {
            let mut file = fs::File::options().write(true).open(path).unwrap();
            let started = std::time::Instant::now();
            let mut last = started;
            let mut longest = Duration::ZERO;
            while started.elapsed() < Duration::from_secs(3) {
                std::io::Write::write_all(&mut file, &from.to_le_bytes()).unwrap();
                longest = longest.max(last.elapsed());
                last = std::time::Instant::now();
                std::thread::sleep(Duration::from_millis(20));
            }
            longest
        });
        let longest = timeout(SOON, writer).await.unwrap().unwrap();
        let mut before = 0;
        while let Ok(event) = server.events.try_recv() {
            before += usize::from(matches!(event, FileEvent::Newer { .. }));
        }
        if longest < Duration::from_millis(300) {
            assert_eq!(before, 0, "nothing is offered while the file is written");
            break true;
        }
        generation += 1;
        if generation > first + 10 {
            break false;
        }
    };
    assert!(has_written, "this machine never let a writer write for 3 s");
    let current = server.newer_generation().await;
    assert_eq!(
        current.snapshot.digest(),
        blake3::hash(&fs::read(&path).unwrap()).as_bytes()
    );
    assert!(current.number > first);
    // Two more polls find nothing new.
    let more = timeout(Duration::from_secs(3), server.newer_generation()).await;
    assert!(more.is_err(), "{:?}", more.map(|more| more.number));
}

#[tokio::test(start_paused = true)]
async fn refused_file_is_offered_when_the_cause_beside_it_is_removed() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("offered.db");
    let log = directory.path().join("offered.db-wal");
    fs::write(&path, b"SQLite format 3\0 and its pages").unwrap();
    fs::write(&log, b"pages").unwrap();
    let offers = Offers::new([("catalogue".into(), path.clone())]);
    let (events, mut received) = mpsc::channel(16);
    let (refreshes, requests) = mpsc::channel(8);
    let keeper = Keeper::new(
        offers.clone(),
        NodeId([1; 32]),
        directory.path().join("offers.json"),
        events,
    );
    tokio::spawn(keeper.run(requests));
    let (done, outcome) = tokio::sync::oneshot::channel();
    refreshes
        .send(Refresh {
            name: "catalogue".into(),
            done,
        })
        .await
        .unwrap();
    assert!(
        outcome
            .await
            .unwrap()
            .unwrap_err()
            .contains("offered.db-wal")
    );
    // The file itself does not change.
    fs::remove_file(&log).unwrap();
    assert!(matches!(
        timeout(SOON, received.recv()).await,
        Ok(Some(FileEvent::Newer { .. }))
    ));
    let offered = offers.all().remove(0).1;
    assert!(offered.error.is_none() && offered.current.is_some());

    // A file that was served before and replaces a refused one is offered, too.
    fs::rename(&path, directory.path().join("kept")).unwrap();
    fs::create_dir(&path).unwrap();
    let error = |offers: &Offers| offers.all().remove(0).1.error;
    until(|| error(&offers).is_some()).await;
    fs::remove_dir(&path).unwrap();
    fs::rename(directory.path().join("kept"), &path).unwrap();
    until(|| error(&offers).is_none()).await;
}

/// Replaces the content of a file in place; the new one has the same size and modification time.
fn replace_in_place(path: &Path, content: &[u8]) {
    let before = fs::metadata(path).unwrap();
    assert_eq!(before.len(), content.len() as u64);
    let mut file = fs::File::options().write(true).open(path).unwrap();
    std::io::Write::write_all(&mut file, content).unwrap();
    file.set_modified(before.modified().unwrap()).unwrap();
    let after = fs::metadata(path).unwrap();
    assert_eq!(before.modified().unwrap(), after.modified().unwrap());
}

#[tokio::test]
async fn content_of_the_same_size_and_modification_time_is_a_new_generation() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("offered");
    fs::write(&path, b"10.0.0.1 printer").unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1))
        .unwrap();
    let mut server = Server::start(1, &path, directory.path());
    let first = server.refresh().await.unwrap();
    while server.events.try_recv().is_ok() {}
    // Found by a push, which asks for a reading.
    replace_in_place(&path, b"10.0.0.2 printer");
    assert_eq!(server.refresh().await.unwrap(), first + 1);
    assert_eq!(server.newer_generation().await.number, first + 1);
    // Found by the polls. The kernel's clock of file times ticks every 10 ms at worst.
    tokio::time::sleep(Duration::from_millis(50)).await;
    replace_in_place(&path, b"10.0.0.3 printer");
    assert_eq!(server.newer_generation().await.number, first + 2);
    // Changed metadata alone are no new content, and the file is served on.
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(server.refresh().await.unwrap(), first + 2);
    assert!(server.events.try_recv().is_err());
}
