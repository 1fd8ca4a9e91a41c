//! The embedded store: one redb file.
//!
//! `meta_v1` identifies the file and the server that created it. `nodes_v1` has a row for each
//! slot, and `seen_v1` a page of renewal times for each [`SeenPage::SLOTS`] slots. A later format
//! uses other table names; values begin with a version of their own.

use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use minicbor::Decoder;
use redb::{Database, Durability, ReadableDatabase, ReadableTable, TableDefinition};
use tracing::debug;

use super::format::{APP, FORMAT, decode_page, encode_meta, encode_page};
use super::{Store, StoreError};
use crate::durable::{directory_of, sync_directory_of};
use crate::model::NodeId;
use crate::registry::row::{self, RowError, StoredNode};
use crate::registry::{Batch, SeenPage, merge_seen};

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta_v1");
const NODES: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("nodes_v1");
const SEEN: TableDefinition<'_, u32, &[u8]> = TableDefinition::new("seen_v1");

/// The key of the one value in `meta_v1`.
const FILE: &str = "file";
/// Memory for pages of the file. The table answers look-ups, so the store reads at start and where
/// it writes only.
const CACHE_BYTES: usize = 32 << 20;

/// What was found when the file was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// Whether the file was created just now.
    pub created: bool,
    /// The number of nodes that were loaded.
    pub nodes: u64,
    /// The node id of the server that created the file.
    pub server: NodeId,
}

/// A registry in one file.
pub struct Embedded {
    path: PathBuf,
    /// `None` only between a failed commit and its recovery.
    database: Option<Database>,
}

impl Embedded {
    /// Opens the file, or creates it with mode 0600, and passes each node to `load` in the order of
    /// slots.
    ///
    /// A file that is damaged, foreign or of a newer format is refused and not changed. A new file
    /// is created under another name and renamed when it is complete, so that a crash leaves no
    /// incomplete file.
    pub fn open(
        path: &Path,
        server: NodeId,
        mut load: impl FnMut(StoredNode),
    ) -> Result<(Self, Opened), StoreError> {
        let created = match std::fs::metadata(path) {
            Ok(metadata) => metadata.is_file() && metadata.len() == 0,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
            Err(error) => return Err(StoreError::from_io(path, &error)),
        };
        let database = if created {
            create(path, server)?
        } else {
            open_file(path)?
        };
        let (server, nodes) = guarded(path, || {
            let server = check_meta(path, &database)?;
            Ok((server, load_all(path, &database, &mut load)?))
        })?;
        debug!(path = %path.display(), created, nodes, ?server, "opened the registry's file");
        let store = Self {
            path: path.to_owned(),
            database: Some(database),
        };
        let opened = Opened {
            created,
            nodes,
            server,
        };
        Ok((store, opened))
    }
}

impl Store for Embedded {
    fn commit(&mut self, batches: &[&Batch]) -> Result<(), StoreError> {
        let path = &self.path;
        let Some(database) = &self.database else {
            return Err(StoreError::Failed {
                path: path.clone(),
                reason: "it is closed".to_owned(),
            });
        };
        write(database, batches).map_err(|error| match StoreError::from_redb(path, *error) {
            // The file was open, so the file is missing and not its directory.
            StoreError::Directory { path } => StoreError::Failed {
                path,
                reason: "the file was removed".to_owned(),
            },
            error => error,
        })
    }

    fn reopen(&mut self) -> Result<(), StoreError> {
        // The lock of the old database must be released first.
        self.database = None;
        let database = open_file(&self.path)?;
        guarded(&self.path, || check_meta(&self.path, &database))?;
        self.database = Some(database);
        Ok(())
    }
}

fn write(database: &Database, batches: &[&Batch]) -> Result<(), Box<redb::Error>> {
    let boxed = |error: redb::Error| Box::new(error);
    let mut transaction = database
        .begin_write()
        .map_err(|error| boxed(error.into()))?;
    transaction
        .set_durability(Durability::Immediate)
        .map_err(|error| boxed(error.into()))?;
    // With this the file opens at once after a crash, and its last commit is known to be complete.
    transaction.set_quick_repair(true);
    {
        let mut nodes = transaction
            .open_table(NODES)
            .map_err(|error| boxed(error.into()))?;
        let mut seen = transaction
            .open_table(SEEN)
            .map_err(|error| boxed(error.into()))?;
        let mut page_value = Vec::with_capacity(SeenPage::BYTES + 8);
        for batch in batches {
            for row in &batch.rows {
                match &row.value {
                    Some(value) => nodes.insert(row.slot, &value[..]).map(drop),
                    None => nodes.remove(row.slot).map(drop),
                }
                .map_err(|error| boxed(error.into()))?;
            }
            for page in &batch.seen {
                page_value.clear();
                let written = encode_page(&page.entries, &mut page_value);
                debug_assert!(written.is_ok(), "a vector takes every byte");
                seen.insert(page.page, &page_value[..])
                    .map_err(|error| boxed(error.into()))?;
            }
        }
    }
    transaction.commit().map_err(|error| boxed(error.into()))
}

fn create(path: &Path, server: NodeId) -> Result<Database, StoreError> {
    let temporary = beside(path);
    let io = |error: std::io::Error| StoreError::from_io(path, &error);
    // A file that an interrupted start left under that name is overwritten, unless its process
    // still runs.
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&temporary)
        .map_err(io)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => {
            return Err(StoreError::Locked {
                path: path.to_owned(),
            });
        }
        Err(std::fs::TryLockError::Error(error)) => return Err(io(error)),
    }
    file.set_len(0).map_err(io)?;
    file.set_permissions(Permissions::from_mode(0o600))
        .map_err(io)?;
    let database = builder()
        .create_file(file)
        .map_err(|error| StoreError::from_redb(path, error))?;
    write_meta(&database, server).map_err(|error| StoreError::from_redb(path, *error))?;
    write(&database, &[]).map_err(|error| StoreError::from_redb(path, *error))?;
    std::fs::rename(&temporary, path).map_err(io)?;
    sync_directory_of(path).map_err(io)?;
    Ok(database)
}

fn open_file(path: &Path) -> Result<Database, StoreError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .map_err(|error| StoreError::from_io(path, &error))?;
    let length = file
        .metadata()
        .map_err(|error| StoreError::from_io(path, &error))?
        .len();
    if length == 0 {
        // redb would create a new database in it, which only `create` may do.
        return Err(StoreError::Damaged {
            path: path.to_owned(),
            reason: "it is empty".to_owned(),
        });
    }
    guarded(path, || {
        // The file is checked read-only first: opening a database for writing may change it, and a
        // foreign one must not be changed. After a crash redb may refuse to open it read-only; then
        // the next step reports any problem.
        if let Ok(database) = builder().open_read_only(path) {
            check_meta(path, &database)?;
        }
        builder()
            .create_file(file)
            .map_err(|error| StoreError::from_redb(path, error))
    })
}

fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// Turns a panic of the database about a broken file into an error.
fn guarded<T>(path: &Path, run: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| {
        Err(StoreError::Damaged {
            path: path.to_owned(),
            reason: "the database library failed to read it".to_owned(),
        })
    })
}

fn write_meta(database: &Database, server: NodeId) -> Result<(), Box<redb::Error>> {
    let mut value = Vec::with_capacity(64);
    let written = encode_meta(server, &mut value);
    debug_assert!(written.is_ok(), "a vector takes every byte");
    let boxed = |error: redb::Error| Box::new(error);
    let mut transaction = database
        .begin_write()
        .map_err(|error| boxed(error.into()))?;
    transaction.set_quick_repair(true);
    {
        let mut meta = transaction
            .open_table(META)
            .map_err(|error| boxed(error.into()))?;
        meta.insert(FILE, &value[..])
            .map_err(|error| boxed(error.into()))?;
    }
    transaction.commit().map_err(|error| boxed(error.into()))
}

/// Checks that this program wrote the file and can read it. Returns the id of the server that
/// created it.
fn check_meta(path: &Path, database: &impl ReadableDatabase) -> Result<NodeId, StoreError> {
    let foreign = |reason: &str| StoreError::Foreign {
        path: path.to_owned(),
        reason: reason.to_owned(),
    };
    let redb = |error: redb::Error| StoreError::from_redb(path, error);
    let transaction = database.begin_read().map_err(|error| redb(error.into()))?;
    let meta = match transaction.open_table(META) {
        Ok(meta) => meta,
        Err(redb::TableError::TableDoesNotExist(_)) => {
            return Err(foreign("another program's database"));
        }
        Err(error) => return Err(redb(error.into())),
    };
    let value = meta
        .get(FILE)
        .map_err(|error| redb(error.into()))?
        .ok_or_else(|| foreign("it names no program"))?;
    let d = &mut Decoder::new(value.value());
    let fields = d.array().ok().flatten().unwrap_or(0);
    if fields < 3 || d.str().ok() != Some(APP) {
        return Err(foreign("another program's database"));
    }
    let damaged = || StoreError::Damaged {
        path: path.to_owned(),
        reason: "its head does not decode".to_owned(),
    };
    let found = d.u32().map_err(|_| damaged())?;
    if found > FORMAT {
        return Err(StoreError::Newer {
            path: path.to_owned(),
            found,
            known: FORMAT,
        });
    }
    let server = d
        .bytes()
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(damaged)?;
    Ok(NodeId(server))
}

/// Passes on one node after the other, so that a million of them are never in memory twice.
fn load_all(
    path: &Path,
    database: &Database,
    load: &mut dyn FnMut(StoredNode),
) -> Result<u64, StoreError> {
    let redb = |error: redb::Error| StoreError::from_redb(path, error);
    let transaction = database.begin_read().map_err(|error| redb(error.into()))?;
    let nodes = transaction
        .open_table(NODES)
        .map_err(|error| redb(error.into()))?;
    let seen = transaction
        .open_table(SEEN)
        .map_err(|error| redb(error.into()))?;
    let mut page: Option<(u32, Option<redb::AccessGuard<'_, &[u8]>>)> = None;
    let mut count = 0;
    for entry in nodes.iter().map_err(|error| redb(error.into()))? {
        let (slot, value) = entry.map_err(|error| redb(error.into()))?;
        let slot = slot.value();
        let mut node = row::decode(slot, value.value()).map_err(|error| match error {
            RowError::Version { found } => StoreError::Newer {
                path: path.to_owned(),
                found: u32::from(found),
                known: u32::from(row::ROW_VERSION),
            },
            RowError::Damaged { .. } => StoreError::Damaged {
                path: path.to_owned(),
                reason: format!("row {slot}: {error}"),
            },
        })?;
        let number = slot / SeenPage::SLOTS as u32;
        if page.as_ref().is_none_or(|(loaded, _)| *loaded != number) {
            page = Some((
                number,
                seen.get(number).map_err(|error| redb(error.into()))?,
            ));
        }
        if let Some((_, Some(value))) = &page {
            let entries = decode_page(value.value()).ok_or_else(|| StoreError::Damaged {
                path: path.to_owned(),
                reason: format!("page {number} of renewal times does not decode"),
            })?;
            merge_seen(&mut node, entries);
        }
        load(node);
        count += 1;
    }
    Ok(count)
}

/// The name under which a new file is created before it is renamed to `path`.
fn beside(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_else(|| "registry".as_ref()));
    name.push(".new");
    directory_of(path).join(name)
}
