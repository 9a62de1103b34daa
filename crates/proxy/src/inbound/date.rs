//! The date that an answer says when its app did not (RFC 9110, section 6.6.1), written anew once a second.

use chrono::{DateTime, Utc};
use std::cell::RefCell;
use std::time::SystemTime;

/// A second, and what it is called.
#[derive(Debug, Default)]
struct Written {
    second: Option<i64>,
    text: String,
}

thread_local! {
    static WRITTEN: RefCell<Written> = RefCell::default();
}

/// Writes the present date behind `head`.
pub(super) fn write(head: &mut Vec<u8>) {
    WRITTEN.with_borrow_mut(|written| {
        let now = DateTime::<Utc>::from(SystemTime::now());
        if written.second != Some(now.timestamp()) {
            written.second = Some(now.timestamp());
            written.text = text(now);
        }
        head.extend_from_slice(written.text.as_bytes());
    });
}

fn text(now: DateTime<Utc>) -> String {
    now.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_the_form_of_the_standard() {
        let example = DateTime::from_timestamp(784_111_777, 0).map(text);
        assert_eq!(example.as_deref(), Some("Sun, 06 Nov 1994 08:49:37 GMT"));
    }
}
