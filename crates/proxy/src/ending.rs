//! What a request holds until its last byte, besides what is in flight of it: of an answer its body holds it, of an
//! upgraded connection its tunnel.

use crate::room::Seat;

/// What is let go when a request is over.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    /// Its places among those that are numbered: in its app, and with its client.
    pub(crate) seats: [Option<Seat>; 2],
}
