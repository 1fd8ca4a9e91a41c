//! What is answered to queries.

use std::net::SocketAddr;

use super::{Core, Datagram, Output};
use crate::discovery::Verdict;
use crate::model::{Labels, Now};
use crate::transport::Via;
use crate::wire::v1::{Answer, Message, Query, Subject, Want};

impl Core {
    pub(super) fn query(&mut self, now: Now, datagram: Datagram<'_>, query: &Query) {
        let Datagram {
            from,
            via,
            nonce,
            length,
            ..
        } = datagram;
        let most = length.saturating_mul(3);
        self.counters.queries += 1;
        match self
            .responder
            .query(now, query, nonce, from, (via.local, via.interface))
        {
            Verdict::Ignore(reason) => self.counters.ignored(reason.as_str()),
            Verdict::AnswerOwn => self.answer(query.id, from, via, self.own_subject(), most),
            Verdict::AnswerLater => {}
            Verdict::LookUp => {
                let subject = self.found(&query.want);
                self.answer(query.id, from, via, subject, most);
            }
            Verdict::Refuse(refused) => self.refuse(from, via, refused, most),
        }
    }

    pub(super) fn answer(
        &mut self,
        id: u64,
        to: SocketAddr,
        via: Via,
        subject: Subject,
        most: usize,
    ) {
        self.counters.answers += 1;
        let message = Message::Answer(Answer {
            id,
            seen: to,
            subject,
        });
        self.output.push_back(Output::Reply {
            to,
            via,
            message,
            most,
        });
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
            // It has no signature that the asker could check, and is told as what it is.
            Some(node) if !node.protocol().is_authenticated() => {
                let (name, protocol) = (node.name().clone(), node.protocol());
                Subject::UnverifiedClaim {
                    server,
                    name,
                    protocol,
                    sighting: node.sighting(),
                }
            }
            Some(node) => Subject::Found {
                server,
                record: node.signed(),
                sighting: node.sighting(),
            },
            None => Subject::Unknown { server },
        }
    }
}
