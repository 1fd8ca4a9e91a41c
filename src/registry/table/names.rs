//! Names: which node holds a name, and which nodes had it before.

use tracing::debug;

use super::cold::Former;
use super::{MAX_FORMER, Table, millis, now_ms};
use crate::model::{NodeId, NodeName, Now};

impl Table {
    /// The authenticated node that keeps a name from `slot`, if any. A `slot` of `None` is a node
    /// that is not in the table yet.
    pub(super) fn name_holder(
        &self,
        now: Now,
        slot: Option<u32>,
        name: &NodeName,
    ) -> Option<NodeId> {
        let holder = *self.names.get(name)?;
        let held = Some(holder) != slot
            && self.is_authenticated(holder)
            && !self.is_released(now, holder, name);
        held.then(|| self.hot(holder).id)
    }

    /// Whether a node is known by a protocol that authenticates nodes.
    pub(super) fn is_authenticated(&self, slot: u32) -> bool {
        self.cold(slot).protocol.is_authenticated()
    }

    /// Whether a name is no longer reserved for its holder.
    pub(super) fn is_released(&self, now: Now, holder: u32, name: &NodeName) -> bool {
        let cold = self.cold(holder);
        let ended = if cold.name == *name {
            (!self.is_present(holder)).then_some(cold.ended)
        } else {
            cold.former
                .iter()
                .find(|former| former.name == *name)
                .map(|former| former.ended)
        };
        ended.is_some_and(|ended| {
            ended.saturating_add(millis(self.settings.release_after)) <= now_ms(now)
        })
    }

    /// Binds a name to a node; [`Self::name_holder`] must have found it free.
    pub(super) fn bind(&mut self, now: Now, slot: u32, name: &NodeName) {
        if let Some(before) = self.names.insert(name.clone(), slot)
            && before != slot
        {
            debug!(
                %name,
                node = ?self.hot(slot).id,
                before = ?self.hot(before).id,
                "a node takes over a name"
            );
            self.unbind(before, name);
            self.end_unverified(now, before);
        }
        if let Some(index) = self
            .cold(slot)
            .former
            .iter()
            .position(|former| former.name == *name)
        {
            self.cold_mut(slot).former.remove(index);
        }
        self.past_names.remove(&(name.clone(), slot));
        self.cold_mut(slot).bound = true;
    }

    /// Records that a node lost a name to another node.
    fn unbind(&mut self, slot: u32, name: &NodeName) {
        let cold = self.cold_mut(slot);
        if cold.name == *name {
            cold.bound = false;
        } else if let Some(former) = cold.former.iter_mut().find(|former| former.name == *name) {
            former.bound = false;
        }
        self.past_names.insert((name.clone(), slot));
        self.mark(slot);
    }

    /// Gives a node another name; the old one becomes a former name.
    pub(super) fn rename(&mut self, now: Now, slot: u32, name: &NodeName) {
        let cold = self.cold_mut(slot);
        let old = std::mem::replace(&mut cold.name, name.clone());
        let bound = std::mem::replace(&mut cold.bound, false);
        // If the node had the same name earlier, only the latest time is kept.
        cold.former.retain(|former| former.name != old);
        cold.former.push(Former {
            name: old.clone(),
            until: now.wall,
            ended: now_ms(now),
            bound,
        });
        self.past_names.insert((old, slot));
        self.bind(now, slot, name);
        if self.cold(slot).former.len() > MAX_FORMER {
            self.counters.names_dropped += 1;
            self.drop_former(slot, 0);
        }
    }

    pub(super) fn drop_former(&mut self, slot: u32, index: usize) {
        let former = self.cold_mut(slot).former.remove(index);
        self.release(slot, &former.name);
    }

    /// Removes a name from the indexes, as far as it refers to this slot.
    fn release(&mut self, slot: u32, name: &NodeName) {
        if self.names.get(name) == Some(&slot) {
            self.names.remove(name);
        }
        self.past_names.remove(&(name.clone(), slot));
    }

    /// Removes all names of a slot from the indexes.
    pub(super) fn release_all(&mut self, slot: u32) {
        while !self.cold(slot).former.is_empty() {
            self.drop_former(slot, 0);
        }
        let name = self.cold(slot).name.clone();
        self.release(slot, &name);
    }

    /// Frees a name: removes the node that holds it, with its history.
    ///
    /// If the node has another current name, only the name is freed.
    pub fn forget(&mut self, name: &NodeName) -> Option<super::Forgotten> {
        let slot = *self.names.get(name)?;
        let node = self.hot(slot).id;
        let record = self.cold(slot).name == *name;
        if record {
            self.remove(slot);
        } else if let Some(index) = self
            .cold(slot)
            .former
            .iter()
            .position(|former| former.name == *name)
        {
            self.drop_former(slot, index);
            self.mark(slot);
        }
        Some(super::Forgotten { node, record })
    }
}
