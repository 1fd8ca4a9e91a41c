//! `hereabouts import`
//!
//! A legacy file goes in, and the node of this machine stores its records; counts come out. Records
//! are always sent as unverified.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::context::{Context, needs_server, unexpected};
use super::exit::{self, note};
use super::legacy::read;
use super::output::{Format, Output};
use super::table::{Emphasis, Table};
use crate::api::request::{IMPORT, ImportRecord, Item, Request};
use crate::api::view::ImportedView;
use crate::model::Protocol;
use crate::wire::compat::dynip;

/// The longest file: a hundred thousand records.
pub(super) const MAX_FILE_BYTES: usize = 32 << 20;
/// How long the server may take for one part of a file.
const PART_LIMIT: Duration = Duration::from_secs(30);

/// Add the records of a legacy file to the registry
///
/// Run this on the server, as the user of its node or as root. Each name comes in with its address
/// and time, marked as unverified. A name that a node of the channel holds stays as it is. To
/// import a file again changes nothing.
///
/// Ends with 1 if a record could not be imported. In a pipe, the line is how many records were
/// added, updated and unchanged, separated by tabs.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hereabouts import --dynip /var/lib/dynip/dynip.json")]
pub(super) struct ImportArgs {
    /// The JSON file of DynIP's server (client_log_path); its times are local times
    #[arg(long, value_name = "FILE", required = true)]
    dynip: PathBuf,
}

pub(super) fn run(
    args: &ImportArgs,
    context: &Context<'_>,
    output: &mut Output<'_>,
) -> anyhow::Result<ExitCode> {
    let path = args.dynip.display();
    let bytes = read(&args.dynip, MAX_FILE_BYTES)?;
    let (records, bad) = dynip::read_file(&bytes, &jiff::tz::TimeZone::system())
        .map_err(|error| anyhow::anyhow!("{path}: {error}"))?;
    for record in &bad {
        note(format_args!(
            "{path}: {:?} is not imported: {}",
            record.name, record.reason
        ));
    }
    let records: Vec<_> = records
        .into_iter()
        .map(|record| ImportRecord {
            name: record.name,
            address: record.address,
            at: record.at,
        })
        .collect();
    let imported = import(&records, context)?;
    for name in &imported.owned {
        note(format_args!(
            "{name} is not imported: a node of the channel holds the name"
        ));
    }
    if !imported.full.is_empty() {
        note(format_args!(
            "{} names are not imported: the registry has too many unverified ones",
            imported.full.len()
        ));
    }
    let not_imported = imported.owned.len() + imported.full.len() + bad.len();
    match output.format() {
        Format::Json => output.json(&imported)?,
        Format::Plain => output.line(format_args!(
            "{}\t{}\t{}",
            imported.added, imported.updated, imported.unchanged
        ))?,
        Format::Table => {
            let mut table = Table::new(&["ADDED", "UPDATED", "UNCHANGED", "NOT IMPORTED"]);
            let cells = [
                imported.added.to_string(),
                imported.updated.to_string(),
                imported.unchanged.to_string(),
                not_imported.to_string(),
            ];
            table.row(Emphasis::Normal, cells);
            output.table(&table)?;
        }
    }
    Ok(ExitCode::from(if not_imported == 0 {
        0
    } else {
        exit::FAILED
    }))
}

/// Sends the records in parts that fit a request, and adds up the results of the server.
fn import(records: &[ImportRecord], context: &Context<'_>) -> anyhow::Result<ImportedView> {
    let mut total = ImportedView::default();
    for part in records.chunks(IMPORT) {
        let request = Request::Import {
            protocol: Protocol::Dynip,
            records: part.to_vec(),
        };
        let items = context
            .local_items(&request, PART_LIMIT)?
            .map_err(needs_server)?;
        for item in items {
            let Item::Imported(ImportedView {
                added,
                updated,
                unchanged,
                owned,
                full,
            }) = item
            else {
                return Err(unexpected(&item));
            };
            total.added += added;
            total.updated += updated;
            total.unchanged += unchanged;
            total.owned.extend(owned);
            total.full.extend(full);
        }
    }
    Ok(total)
}
