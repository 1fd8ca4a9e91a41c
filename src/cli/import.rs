//! `hereabouts import`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::ancestors::read;
use super::context::{Context, needs_server, unexpected};
use super::exit::{self, note};
use super::output::{Format, Output};
use super::table::{Emphasis, Table};
use crate::api::request::{IMPORT, ImportRecord, Item, Request};
use crate::api::view::ImportedView;
use crate::model::Protocol;
use crate::wire::compat::dynip;

/// The most bytes of a file: a hundred thousand records.
pub(super) const MAX_FILE: usize = 32 << 20;
/// How long the server may take for one part of a file.
const PART_LIMIT: Duration = Duration::from_secs(30);

/// Take the records of an ancestor's file into the registry
///
/// Run this where the server runs, as its user. Each name comes in with its address and time, marked as unproved; a name
/// that a node of the channel holds stays as it is. Importing a file again changes nothing. Exits with 1 when a record
/// could not be taken.
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
    let shown = args.dynip.display();
    let bytes = read(&args.dynip, MAX_FILE)?;
    let (records, bad) = dynip::read_file(&bytes, &jiff::tz::TimeZone::system())
        .map_err(|error| anyhow::anyhow!("{shown}: {error}"))?;
    for record in &bad {
        note(format_args!(
            "{shown}: {:?} is left out: {}",
            record.name, record.reason
        ));
    }
    let mut all = ImportedView::default();
    let records: Vec<_> = records
        .into_iter()
        .map(|record| ImportRecord {
            name: record.name,
            address: record.address,
            at: record.at,
        })
        .collect();
    for part in records.chunks(IMPORT) {
        let request = Request::Import {
            protocol: Protocol::Dynip,
            records: part.to_vec(),
        };
        for item in context
            .local_items(&request, PART_LIMIT)?
            .map_err(needs_server)?
        {
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
            all.added += added;
            all.updated += updated;
            all.unchanged += unchanged;
            all.owned.extend(owned);
            all.full.extend(full);
        }
    }
    for name in &all.owned {
        note(format_args!(
            "{name} is left as it is: a node of the channel holds the name"
        ));
    }
    if !all.full.is_empty() {
        note(format_args!(
            "{} names were not taken: the registry has too many unproved ones",
            all.full.len()
        ));
    }
    match output.format() {
        Format::Json => output.json(&all)?,
        Format::Plain => output.line(format_args!(
            "{}\t{}\t{}",
            all.added, all.updated, all.unchanged
        ))?,
        Format::Table => {
            let mut table = Table::new(&["ADDED", "UPDATED", "UNCHANGED", "NOT TAKEN"]);
            let left = all.owned.len() + all.full.len() + bad.len();
            let cells =
                [all.added, all.updated, all.unchanged, left as u64].map(|count| count.to_string());
            table.row(Emphasis::Normal, cells);
            output.table(&table)?;
        }
    }
    let whole = bad.is_empty() && all.owned.is_empty() && all.full.is_empty();
    Ok(ExitCode::from(if whole { 0 } else { exit::FAILED }))
}
