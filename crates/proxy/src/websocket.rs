//! WebSocket as far as a tunnel needs it to end one politely: where a frame ends, and what is said then
//! (RFC 6455). Knows no sockets.

/// A Close with the code 1001, "going away".
pub(crate) const GOING_AWAY: [u8; 4] = [0x88, 0x02, 0x03, 0xE9];

/// Follows the frames that go to a client.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// What has come of the head of the frame under way.
    head: Vec<u8>,
    /// Bytes of its payload that are still to come.
    payload: u64,
    /// The other side has said good-bye itself.
    closed: bool,
}

impl Frames {
    /// Takes the next bytes.
    pub(crate) fn follow(&mut self, mut bytes: &[u8]) {
        while let Some((&first, rest)) = bytes.split_first() {
            if self.payload > 0 {
                let here = usize::try_from(self.payload).map_or(bytes.len(), |left| left.min(bytes.len()));
                self.payload -= here as u64;
                bytes = &bytes[here..];
                continue;
            }
            self.head.push(first);
            bytes = rest;
            if let Some(payload) = self.whole_head() {
                self.closed |= self.head[0] & 0x0F == 0x08;
                self.head.clear();
                self.payload = payload;
            }
        }
    }

    /// Whether a frame of our own may follow here.
    pub(crate) fn may_end_here(&self) -> bool {
        self.head.is_empty() && self.payload == 0 && !self.closed
    }

    /// The length of the payload, once the head is whole.
    fn whole_head(&self) -> Option<u64> {
        let second = *self.head.get(1)?;
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        let extended = match second & 0x7F {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let length = self.head.get(2..2 + extended)?;
        let length = length.iter().fold(0, |length, &byte| length << 8 | u64::from(byte));
        let whole = self.head.len() == 2 + extended + mask;
        whole.then_some(if extended == 0 { u64::from(second & 0x7F) } else { length })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_fits_between_two_frames_and_nowhere_else() {
        let short = [&[0x81, 0x05][..], b"hello"].concat();
        let masked = [&[0x82, 0x83, 1, 2, 3, 4][..], b"abc"].concat();
        let long = [&[0x82, 126, 0x01, 0x00][..], &[7; 256]].concat();
        let longer = [&[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0][..], &vec![7; 65_536]].concat();
        let empty = vec![0x89, 0x00];
        let all = [&short, &masked, &long, &longer, &empty];
        let ends: Vec<usize> = all
            .iter()
            .scan(0, |at, frame| {
                *at += frame.len();
                Some(*at)
            })
            .collect();
        let bytes = all.map(Vec::as_slice).concat();
        let mut frames = Frames::default();
        for (at, byte) in bytes.iter().enumerate() {
            assert_eq!(frames.may_end_here(), at == 0 || ends.contains(&at), "before byte {at}");
            frames.follow(&[*byte]);
        }
        assert!(frames.may_end_here());
        let mut at_once = Frames::default();
        at_once.follow(&bytes);
        assert!(at_once.may_end_here());
        at_once.follow(&GOING_AWAY);
        assert!(!at_once.may_end_here(), "nothing follows a Close");
    }
}
