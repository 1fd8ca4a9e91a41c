//! Import of records from a legacy program's file, over the control socket.

use crate::api::control::Call;
use crate::api::request::{ErrorKind, IMPORT, ImportRecord};
use crate::api::view::ImportedView;
use crate::model::{Lease, Now, Protocol};
use crate::node::parts::Node;
use crate::node::reply::{fail, finish};
use crate::registry::Imported;

impl Node {
    /// Imports records into the registry; the call is answered when they are durable.
    pub(super) fn import(
        &mut self,
        now: Now,
        protocol: Protocol,
        records: &[ImportRecord],
        call: Call,
    ) {
        if protocol.is_authenticated() || records.len() > IMPORT {
            let message =
                format!("an import has records of a legacy protocol, and at most {IMPORT} of them");
            return fail(&call, ErrorKind::BadRequest, message);
        }
        let lease = self.config.compat.dynip.clone().unwrap_or_default().lease.0;
        let lease = Lease(u32::try_from(lease.as_secs()).unwrap_or(u32::MAX));
        let mut view = ImportedView::default();
        for ImportRecord { name, address, at } in records {
            match self.core.import(now, name, protocol, *address, *at, lease) {
                Some(Imported::Added) => view.added += 1,
                Some(Imported::Updated) => view.updated += 1,
                Some(Imported::Same) => view.unchanged += 1,
                Some(Imported::Owned) => view.owned.push(name.clone()),
                Some(Imported::Full) => view.full.push(name.clone()),
                None => return fail(&call, ErrorKind::NotServer, "this node keeps no registry"),
            }
        }
        if view.added + view.updated == 0 {
            return finish(&call, [view.into()]);
        }
        tracing::info!(%protocol, added = view.added, updated = view.updated, "imported unverified records");
        self.touch_export(now);
        self.core.store();
        self.answer_when_durable(view.into(), call);
    }
}
