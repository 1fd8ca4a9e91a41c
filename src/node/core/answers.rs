//! Answers to queries.

use super::{Core, Datagram, Output};
use crate::discovery::Verdict;
use crate::model::{Labels, Now};
use crate::transport::ReturnPath;
use crate::wire::v1::{Answer, Message, Query, Subject, Want};

impl Core {
    pub(super) fn on_query(&mut self, now: Now, datagram: Datagram<'_>, query: &Query) {
        let path = datagram.path;
        let via = (path.via.local, path.via.interface);
        self.counters.queries += 1;
        match self
            .responder
            .query(now, query, datagram.nonce, path.to, via)
        {
            Verdict::Ignore(reason) => {
                tracing::debug!(peer = %path.to, reason = reason.as_str(), "query ignored");
                self.counters.ignored(reason.as_str());
            }
            Verdict::AnswerOwn => self.answer(query.id, path, self.own_subject()),
            Verdict::AnswerLater => {}
            Verdict::LookUp => {
                let subject = self.found(&query.want);
                self.answer(query.id, path, subject);
            }
            Verdict::Refuse(refused) => self.refuse(path, refused),
        }
    }

    pub(super) fn answer(&mut self, id: u64, path: ReturnPath, subject: Subject) {
        self.counters.answers += 1;
        let message = Message::Answer(Answer {
            id,
            seen: path.to,
            subject,
        });
        self.output.push_back(Output::Reply { path, message });
    }

    pub(super) fn own_subject(&self) -> Subject {
        let serves = self.engine.own().record().role.serves();
        let info = if serves {
            self.settings.info.clone()
        } else {
            Labels::default()
        };
        Subject::Own {
            record: self.engine.own().signed().clone(),
            info,
        }
    }

    fn found(&self, want: &Want) -> Subject {
        let server = self.engine.own().id();
        let entry = self.table.as_ref().and_then(|table| match want {
            Want::Name(name) => table.by_name(name),
            Want::Holder(ip) => table.holder(*ip),
            Want::Servers | Want::All => None,
        });
        match entry {
            // The entry has no signature that the requester could check, so the answer marks it as unverified.
            Some(node) if !node.protocol().is_authenticated() => Subject::UnverifiedClaim {
                server,
                name: node.name().clone(),
                protocol: node.protocol(),
                sighting: node.sighting(),
            },
            Some(node) => Subject::Found {
                server,
                record: node.signed(),
                sighting: node.sighting(),
            },
            None => Subject::Unknown { server },
        }
    }
}
