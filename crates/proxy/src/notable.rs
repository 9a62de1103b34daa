//! Which of the fields that matter to a proxy a message has. To look at each name once costs less than to ask for each
//! field that there may be: most messages have few of them. What is done with them is the business of [`crate::headers`].

use crate::message::Fields;
use http::header::{HeaderName, HeaderValue};

/// A field, or several that are treated alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Connection,
    ContentLength,
    ContentType,
    Te,
    TransferEncoding,
    Upgrade,
    /// One that may have to stay behind, for another reason than those above.
    Doubtful,
    /// A length that is said more than once, or is no number as everybody writes it.
    DoubtfulLength,
}

/// Those that a message has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Notable(u8);

impl Notable {
    /// Those among `fields`.
    pub(crate) fn of(fields: &Fields) -> Self {
        let mut found = Self::default();
        fields.iter().for_each(|(name, value)| found.note(name, value));
        found
    }

    /// There is this one.
    pub(crate) fn note(&mut self, name: &HeaderName, value: &HeaderValue) {
        let Some(field) = field(name) else { return };
        // Zeros in front of it are read by some as another base, or as one digit too many.
        let is_plain = || match value.as_bytes() {
            [] | [b'0', _, ..] => false,
            digits => digits.iter().all(u8::is_ascii_digit),
        };
        if field == Field::ContentLength && (self.has(field) || !is_plain()) {
            self.0 |= bit(Field::DoubtfulLength);
        }
        self.0 |= bit(field);
    }

    pub(crate) const fn has(self, field: Field) -> bool {
        self.0 & bit(field) != 0
    }
}

const fn bit(field: Field) -> u8 {
    1 << field as u8
}

fn field(name: &HeaderName) -> Option<Field> {
    let name = name.as_str();
    Some(match name {
        "connection" => Field::Connection,
        "content-length" => Field::ContentLength,
        "content-type" => Field::ContentType,
        "te" => Field::Te,
        "transfer-encoding" => Field::TransferEncoding,
        "upgrade" => Field::Upgrade,
        "content_length"
        | "expect"
        | "forwarded"
        | "http2-settings"
        | "keep-alive"
        | "proxy-authenticate"
        | "proxy-authorization"
        | "proxy-connection"
        | "trailer"
        | "transfer_encoding" => Field::Doubtful,
        // Also in spellings that some servers take for the same.
        _ if name.starts_with("x-") || name.starts_with("x_") => Field::Doubtful,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_message_has_is_found_and_nothing_else() {
        let found = |names: &[&'static str]| {
            let mut found = Notable::default();
            for name in names {
                found.note(&HeaderName::from_static(name), &HeaderValue::from_static("1"));
            }
            let all = [
                Field::Connection,
                Field::ContentLength,
                Field::ContentType,
                Field::Te,
                Field::TransferEncoding,
                Field::Upgrade,
                Field::Doubtful,
                Field::DoubtfulLength,
            ];
            all.into_iter().filter(|&field| found.has(field)).collect::<Vec<_>>()
        };
        assert!(found(&["accept", "host", "date", "xylophone"]).is_empty());
        assert_eq!(found(&["content-length", "date"]), [Field::ContentLength]);
        let lengths = |values: &[&'static str]| {
            let mut found = Notable::default();
            for value in values {
                found.note(&http::header::CONTENT_LENGTH, &HeaderValue::from_static(value));
            }
            found.has(Field::DoubtfulLength)
        };
        assert!(!lengths(&["3"]) && lengths(&["3", "3"]) && lengths(&["3, 3"]) && lengths(&["+3"]));
        assert!(!lengths(&["0"]) && !lengths(&["30"]) && lengths(&["03"]) && lengths(&["00"]));
        assert_eq!(found(&["upgrade", "host", "connection"]), [Field::Connection, Field::Upgrade]);
        assert_eq!(found(&["te", "content-type"]), [Field::ContentType, Field::Te]);
        assert_eq!(found(&["transfer-encoding", "keep-alive"]), [Field::TransferEncoding, Field::Doubtful]);
        for doubtful in [
            "forwarded",
            "x-forwarded-for",
            "x_real-ip",
            "expect",
            "proxy-authorization",
            "content_length",
            "transfer_encoding",
        ] {
            assert_eq!(found(&[doubtful]), [Field::Doubtful], "{doubtful}");
        }
    }
}
