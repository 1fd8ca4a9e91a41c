use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use redb::{Database, TableDefinition};

use super::*;
use crate::model::NodeId;
use crate::registry::fixture::{changed, ip, node_id, now, registration};
use crate::registry::{Row, SeenPage, Settings, StoredNode, Table, row};

const SERVER: NodeId = NodeId([3; 32]);

fn open(path: &Path) -> Result<(Embedded, Opened, Vec<StoredNode>), StoreError> {
    let mut loaded = Vec::new();
    let (store, opened) = Embedded::open(path, SERVER, |node| loaded.push(node))?;
    Ok((store, opened, loaded))
}

fn error(path: &Path) -> StoreError {
    open(path).map(drop).expect_err("it must be refused")
}

fn wait_for(writer: &Writer, condition: impl Fn(&Progress) -> bool) -> Progress {
    let progress = writer.progress();
    let end = Instant::now() + Duration::from_secs(20);
    while Instant::now() < end {
        let state = progress.borrow().clone();
        if condition(&state) {
            return state;
        }
        std::thread::yield_now();
    }
    panic!("not within 20 s: {:?}", progress.borrow());
}

#[test]
fn committed_rows_are_loaded() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("registry.redb");
    let mut table = Table::new(Settings::default());
    for index in 0..700 {
        table.register(now(0), registration(index, 1, 1));
    }
    let (mut store, opened, loaded) = open(&path).unwrap();
    assert_eq!(
        (opened, loaded.len()),
        (
            Opened {
                created: true,
                nodes: 0,
                server: SERVER
            },
            0
        )
    );
    let rows = table.take_dirty();
    let seen = table.take_seen();
    store.commit(&[&rows, &seen]).unwrap();
    table.renew(now(9), &node_id(600), 1, 1, 5, (ip(600), 24373).into());
    table.forget(&crate::registry::fixture::name("node-3"));
    let rows = table.take_dirty();
    let seen = table.take_seen();
    store.commit(&[&rows, &seen]).unwrap();
    drop(store);
    let (_store, opened, loaded) = open(&path).unwrap();
    assert_eq!(
        opened,
        Opened {
            created: false,
            nodes: 699,
            server: SERVER
        }
    );
    assert!(loaded.windows(2).all(|pair| pair[0].slot < pair[1].slot));
    assert!(loaded.iter().all(|node| node.signed.node != node_id(3)));
    let renewed = loaded
        .iter()
        .find(|node| node.signed.node == node_id(600))
        .unwrap();
    assert_eq!(
        (renewed.sequence, renewed.base, renewed.last_seen),
        (5, 1, now(9).wall)
    );
    assert_eq!(renewed.record, registration(600, 1, 1).record);
    assert_eq!(renewed.signed, registration(600, 1, 1).signed);
}

#[test]
fn new_file_is_private_and_complete() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("registry.redb");
    // These files are what a start that was killed may leave behind.
    std::fs::write(directory.path().join(".registry.redb.new"), b"half").unwrap();
    std::fs::write(&path, b"").unwrap();
    let (_store, opened, _) = open(&path).unwrap();
    assert!(opened.created);
    let names: Vec<_> = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["registry.redb"]);
    let fresh = directory.path().join("fresh.redb");
    open(&fresh).unwrap();
    assert_eq!(
        std::fs::metadata(&fresh).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

#[test]
fn file_that_is_open_elsewhere_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("registry.redb");
    let (created, ..) = open(&path).unwrap();
    assert!(matches!(error(&path), StoreError::Locked { .. }));
    drop(created);
    let (_opened, ..) = open(&path).unwrap();
    let error = error(&path);
    assert!(matches!(error, StoreError::Locked { .. }));
    assert!(error.to_string().ends_with(
        "another process has it open; stop that process, or give each its own registry.store.path"
    ));
}

#[test]
fn foreign_file_is_refused_and_not_changed() {
    let directory = tempfile::tempdir().unwrap();
    let text = directory.path().join("text");
    std::fs::write(
        &text,
        "not a database, and long enough to be taken for the head of one".repeat(200),
    )
    .unwrap();
    let other = directory.path().join("other.redb");
    let database = Database::create(&other).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction
        .open_table(TableDefinition::<u32, u32>::new("theirs"))
        .unwrap()
        .insert(1, 2)
        .unwrap();
    transaction.commit().unwrap();
    drop(database);
    for path in [text, other] {
        let before = std::fs::read(&path).unwrap();
        let error = error(&path);
        assert!(matches!(error, StoreError::Foreign { .. }), "{error:?}");
        assert!(error.to_string().contains("move it away"), "{error}");
        assert!(
            before == std::fs::read(&path).unwrap(),
            "{} was written to",
            path.display()
        );
    }
}

#[test]
fn newer_format_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("registry.redb");
    drop(open(&path).unwrap());
    let database = Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let mut value = Vec::new();
    minicbor::Encoder::new(&mut value)
        .array(3)
        .unwrap()
        .str("hereabouts registry")
        .unwrap()
        .u32(2)
        .unwrap()
        .null()
        .unwrap();
    transaction
        .open_table(TableDefinition::<&str, &[u8]>::new("meta_v1"))
        .unwrap()
        .insert("file", &value[..])
        .unwrap();
    transaction.commit().unwrap();
    drop(database);
    assert!(matches!(
        error(&path),
        StoreError::Newer {
            found: 2,
            known: 1,
            ..
        }
    ));
}

#[test]
fn newer_row_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("registry.redb");
    let (mut store, ..) = open(&path).unwrap();
    let value = Some(Box::from([0x82, row::ROW_VERSION + 1, 0x00]));
    store
        .commit(&[&Batch {
            rows: vec![Row { slot: 0, value }],
            seen: Vec::new(),
        }])
        .unwrap();
    drop(store);
    assert!(matches!(
        error(&path),
        StoreError::Newer {
            found: 4,
            known: 3,
            ..
        }
    ));
}

#[test]
fn damaged_row_is_refused_by_its_number() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("registry.redb");
    let (mut store, ..) = open(&path).unwrap();
    let value = Some(Box::from([0x93, 0x01, 0x00]));
    store
        .commit(&[&Batch {
            rows: vec![Row { slot: 7, value }],
            seen: Vec::new(),
        }])
        .unwrap();
    drop(store);
    let error = error(&path);
    assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
    assert!(error.to_string().contains("row 7"), "{error}");
}

#[test]
fn missing_directory_and_missing_rights_name_a_remedy() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("none/registry.redb");
    assert!(matches!(error(&path), StoreError::Directory { .. }));
    let path = directory.path().join("registry.redb");
    let denied =
        StoreError::from_io(&path, &std::io::ErrorKind::PermissionDenied.into()).to_string();
    let user = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap());
    assert!(
        denied.ends_with(&format!("run: chown {user} {}", directory.path().display())),
        "{denied}"
    );
}

#[test]
fn truncated_or_damaged_file_never_panics() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("registry.redb");
    let (mut store, ..) = open(&path).unwrap();
    let mut table = Table::new(Settings::default());
    for index in 0..300 {
        table.register(now(0), registration(index, 1, 1));
    }
    let (rows, seen) = (table.take_dirty(), table.take_seen());
    store.commit(&[&rows, &seen]).unwrap();
    drop(store);
    let whole = std::fs::read(&path).unwrap();
    let broken = directory.path().join("broken.redb");
    let mut refused = 0;
    for length in [
        1,
        8,
        9,
        100,
        320,
        4095,
        4096,
        5000,
        whole.len() / 2,
        whole.len() - 1,
    ] {
        std::fs::write(&broken, &whole[..length]).unwrap();
        refused += u32::from(open(&broken).is_err());
    }
    assert_eq!(refused, 10, "a file that is cut is never taken");
    let mut random = 88_172_645_463_325_252_u64;
    for _ in 0..60 {
        let mut bytes = whole.clone();
        for _ in 0..8 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let at = random as usize % bytes.len();
            bytes[at] ^= (random >> 32) as u8;
        }
        std::fs::write(&broken, &bytes).unwrap();
        let _ = open(&broken);
    }
}

#[test]
fn tickets_become_durable_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("registry.redb");
    let (mut writer, _) = Writer::open(&path, SERVER, |_| ()).unwrap();
    let mut table = Table::new(Settings::default());
    assert_eq!(writer.submit(Batch::default()).unwrap(), Ticket(0));
    for index in 0..50 {
        table.register(now(0), registration(index, 1, 1));
        assert_eq!(
            writer.submit(table.take_dirty()).unwrap(),
            Ticket(u64::from(index) + 1)
        );
    }
    let progress = wait_for(&writer, |progress| progress.durable == Ticket(50));
    assert!((1..=50).contains(&progress.commits));
    assert_eq!(progress.failure, None);
    writer.shutdown().unwrap();
    assert_eq!(open(&path).unwrap().2.len(), 50);
}

/// A store whose results a test controls.
struct Scripted {
    fails: Arc<AtomicBool>,
    gate: mpsc::Receiver<()>,
    done: Arc<Mutex<Vec<u32>>>,
    reopened: Arc<AtomicBool>,
}

impl Store for Scripted {
    fn commit(&mut self, batches: &[&Batch]) -> Result<(), StoreError> {
        // A gate whose sender was dropped is open.
        let _ = self.gate.recv();
        if self.fails.load(Ordering::SeqCst) {
            return Err(StoreError::Failed {
                path: "disk".into(),
                reason: "no space left".into(),
            });
        }
        let slots = batches
            .iter()
            .flat_map(|batch| batch.rows.iter().map(|row| row.slot));
        self.done.lock().unwrap().extend(slots);
        Ok(())
    }

    fn reopen(&mut self) -> Result<(), StoreError> {
        self.reopened.store(true, Ordering::SeqCst);
        Ok(())
    }
}

/// The gate is the first field, so that it is dropped, and opens, before the writer waits for its
/// thread.
struct Script {
    gate: mpsc::Sender<()>,
    writer: Writer,
    fails: Arc<AtomicBool>,
    done: Arc<Mutex<Vec<u32>>>,
    reopened: Arc<AtomicBool>,
}

fn scripted() -> Script {
    let (gate, receiver) = mpsc::channel();
    let (fails, reopened) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let done = Arc::new(Mutex::new(Vec::new()));
    let store = Scripted {
        fails: fails.clone(),
        gate: receiver,
        done: done.clone(),
        reopened: reopened.clone(),
    };
    Script {
        writer: Writer::start(Box::new(store)).unwrap(),
        fails,
        gate,
        done,
        reopened,
    }
}

fn batch(slot: u32, bytes: usize) -> Batch {
    Batch {
        rows: vec![Row {
            slot,
            value: Some(vec![0; bytes].into()),
        }],
        seen: Vec::new(),
    }
}

#[test]
fn failed_commit_is_reported_tried_again_and_not_acknowledged() {
    let mut script = scripted();
    script.fails.store(true, Ordering::SeqCst);
    script.writer.submit(batch(1, 10)).unwrap();
    script.gate.send(()).unwrap();
    let progress = wait_for(&script.writer, |progress| progress.failure.is_some());
    assert_eq!(progress.durable, Ticket(0));
    assert_eq!(
        progress.failure.unwrap().reason,
        "write disk: no space left"
    );
    script.fails.store(false, Ordering::SeqCst);
    script.gate.send(()).unwrap();
    let progress = wait_for(&script.writer, |progress| progress.durable == Ticket(1));
    assert_eq!(progress.failure, None);
    assert!(script.reopened.load(Ordering::SeqCst));
    assert_eq!(*script.done.lock().unwrap(), [1]);
}

#[test]
fn full_queue_returns_the_batch() {
    let mut script = scripted();
    let mut accepted = 0;
    let Full(back) = loop {
        match script.writer.submit(batch(accepted, 9 << 20)) {
            Ok(_) => accepted += 1,
            Err(full) => break full,
        }
    };
    assert_eq!(back.rows[0].slot, accepted);
    assert!((7..=9).contains(&accepted), "{accepted}");
    assert!(!script.writer.has_room());
    for _ in 0..accepted {
        script.gate.send(()).unwrap();
    }
    wait_for(&script.writer, |progress| {
        progress.durable == Ticket(u64::from(accepted))
    });
    let end = Instant::now() + Duration::from_secs(20);
    while !script.writer.has_room() {
        assert!(Instant::now() < end);
        std::thread::yield_now();
    }
    assert!(script.writer.submit(back).is_ok());
    drop(script.gate);
}

#[test]
fn waiting_batches_are_written_in_one_commit() {
    let mut script = scripted();
    for slot in 0..100 {
        script.writer.submit(batch(slot, 10)).unwrap();
    }
    script.gate.send(()).unwrap();
    script.gate.send(()).unwrap();
    let progress = wait_for(&script.writer, |progress| progress.durable == Ticket(100));
    assert!(
        progress.commits <= 2,
        "the first alone, or some, then all the rest"
    );
    drop(script.gate);
}

#[test]
fn shutdown_commits_waiting_batches() {
    let Script {
        mut writer,
        gate,
        done,
        ..
    } = scripted();
    for slot in 0..10 {
        writer.submit(batch(slot, 10)).unwrap();
    }
    drop(gate);
    writer.shutdown().unwrap();
    assert_eq!(*done.lock().unwrap(), (0..10).collect::<Vec<_>>());
}

#[test]
fn shutdown_with_a_failing_disk_returns_its_error() {
    let Script {
        mut writer,
        gate,
        fails,
        ..
    } = scripted();
    fails.store(true, Ordering::SeqCst);
    writer.submit(batch(0, 10)).unwrap();
    drop(gate);
    assert!(matches!(writer.shutdown(), Err(StoreError::Failed { .. })));
}

fn valid_row() -> Box<[u8]> {
    let mut table = Table::new(Settings::default());
    table.register(now(0), registration(1, 1, 1));
    table.register(
        now(1),
        changed(1, 2, 1, |record| {
            record.name = crate::registry::fixture::name("other")
        }),
    );
    table.take_dirty().rows.remove(0).value.unwrap()
}

#[test]
fn row_decodes_to_what_was_registered() {
    let node = row::decode(0, &valid_row()).unwrap();
    assert_eq!(
        node.record,
        changed(1, 2, 1, |record| record.name =
            crate::registry::fixture::name("other"))
        .record
    );
    assert_eq!(
        (node.former.len(), node.history.len(), node.previous_boot),
        (1, 2, Some(1))
    );
}

proptest! {
    #[test]
    fn row_decode_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let _ = row::decode(0, &bytes);
        let _ = format::decode_page(&bytes);
    }

    #[test]
    fn broken_row_decode_no_panic(cut in 0usize..2000, changes in prop::collection::vec((0usize..2000, any::<u8>()), 0..6)) {
        let mut bytes = valid_row().into_vec();
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        bytes.truncate(cut.max(1));
        if let Ok(node) = row::decode(0, &bytes) {
            // The table must accept any row that decodes: it keeps its invariants by itself.
            let mut table = Table::new(Settings::default());
            table.load(now(0), node);
            while table.is_dirty() {
                table.take_dirty();
            }
            table.expire(now(1_000_000));
        }
    }

    #[test]
    fn seen_page_roundtrip(fill in any::<u8>(), length in 0usize..4000) {
        let bytes = vec![fill; length];
        prop_assert!(format::decode_page(&bytes).is_none_or(|entries| entries.len() == SeenPage::BYTES));
    }
}
