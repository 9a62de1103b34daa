//! Frames as RFC 9113 has them, for clients that do what no library does.

use super::client::Held;
use crate::support::Wire;

/// How a connection begins.
pub(super) const PREFACE: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

/// A whole frame.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Fields as literals that enter no table (RFC 7541, section 6.2.2).
pub(super) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

/// Kind and payload of the next frame; `None`: the connection has ended.
pub(super) async fn next_frame(wire: &mut Wire) -> Option<(u8, Vec<u8>)> {
    let head = wire.exactly(9).await?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    Some((head[3], wire.exactly(length as usize).await?))
}

/// A connection that has begun, with these settings of the client's.
pub(super) async fn begun(it: &Held, settings: &[(u16, u32)]) -> Wire {
    let settings: Vec<u8> = settings
        .iter()
        .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
        .collect();
    let mut wire = it.proxy.connect().await;
    wire.send(PREFACE).await;
    wire.send(frame(SETTINGS, 0, 0, &settings)).await;
    wire
}

/// The head of a request to `host` that has no more than it needs.
pub(super) fn head(method: &str, path: &str) -> Vec<u8> {
    block(&[(":method", method), (":scheme", "http"), (":path", path), (":authority", "a")])
}
