//! What a request holds until its last byte, besides what is in flight of it: of an answer its body holds it, of an
//! upgraded connection its tunnel.

use crate::app::App;
use crate::meter::By;
use crate::record::Record;
use crate::room::Seat;
use http::StatusCode;
use std::sync::Arc;

/// What is let go when a request is over. Where there is no access log, what is noted here costs nothing.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    /// Its places among those that are numbered: in its app, with its client, and as what it asks to become.
    pub(crate) seats: [Option<Seat>; 3],
    /// Its line in the access log.
    pub(crate) record: Option<Box<Record>>,
}

impl Ending {
    /// It is for `app`.
    pub(crate) fn found(&mut self, app: &Arc<App>) {
        if let Some(record) = &mut self.record {
            record.found(app);
        }
    }

    /// It is sent to an upstream.
    pub(crate) fn sent(&mut self) {
        if let Some(record) = &mut self.record {
            record.sent();
        }
    }

    /// The upstream answers.
    pub(crate) fn heard(&mut self) {
        if let Some(record) = &mut self.record {
            record.heard();
        }
    }

    /// It has an answer; where it is the proxy's, for the reason `why`.
    pub(crate) fn answered(
        &mut self,
        app: Option<&Arc<App>>,
        by: By,
        status: StatusCode,
        why: Option<&'static str>,
    ) {
        if let Some(record) = &mut self.record {
            record.answered(app.cloned(), by, status, why);
        }
    }

    /// So many more bytes were handed over to its client.
    pub(crate) fn more(&mut self, bytes: u64) {
        if let Some(record) = &mut self.record {
            record.more(bytes);
        }
    }

    /// Nothing is missing of what its client was to get.
    pub(crate) fn whole(&mut self) {
        if let Some(record) = &mut self.record {
            record.whole();
        }
    }
}
