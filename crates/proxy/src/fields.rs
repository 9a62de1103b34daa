//! The fields of a message as they were found in bytes that were read, without a copy of their values.

use crate::message::Fields;
use crate::notable::Notable;
use bytes::Bytes;
use http::header::{CONNECTION, HeaderName, HeaderValue};

/// The fields that were `found` in `read`, with room for so `many_more`, and what there is among them; `None`: one has a
/// name or a value that none can have.
pub(crate) fn fields(
    read: &Bytes,
    found: &[httparse::Header<'_>],
    many_more: usize,
) -> Option<(Fields, Notable)> {
    let (mut fields, mut notable) = (Fields::with_capacity(found.len() + many_more), Notable::default());
    for field in found {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        let value = HeaderValue::from_maybe_shared(read.slice_ref(field.value)).ok()?;
        notable.note(&name, &value);
        fields.add(name, value);
    }
    Some((fields, notable))
}

/// Whether a line of `bytes` ends without a carriage return: some readers end a line there, some do not.
pub(crate) fn has_bare_line_feed(bytes: &[u8]) -> bool {
    let mut bare = bytes.first() == Some(&b'\n');
    // To the end, whatever is found: so it is done for many bytes at once.
    for (&before, &byte) in bytes.iter().zip(bytes.get(1..).unwrap_or_default()) {
        bare |= byte == b'\n' && before != b'\r';
    }
    bare
}

/// Whether a connection ends after the message with these `fields`, as far as they say so.
pub(crate) fn closes(fields: &Fields) -> bool {
    // As it is said nearly always, if at all.
    let ordinary = |value: &HeaderValue| value.as_bytes() == b"keep-alive";
    !fields.get_all(CONNECTION).all(ordinary) && says(fields, CONNECTION, "close")
}

/// Whether one of the fields of this `name` has `wanted` in its list.
pub(crate) fn says(fields: &Fields, name: HeaderName, wanted: &str) -> bool {
    let tokens = fields.get_all(name).flat_map(|value| value.as_bytes().split(|&byte| byte == b','));
    tokens.map(<[u8]>::trim_ascii).any(|token| token.eq_ignore_ascii_case(wanted.as_bytes()))
}

/// The number that `text` is in decimal digits, and nothing else.
pub(crate) fn decimal(text: &[u8]) -> Option<u64> {
    let all_digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    all_digits.then(|| std::str::from_utf8(text).ok()?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_feed_alone_is_found_wherever_it_is() {
        for sound in ["", "a", "\r\n", "a\r\nb\r\n\r\n", "\r\n\r\n"] {
            assert!(!has_bare_line_feed(sound.as_bytes()), "{sound:?}");
        }
        for bad in ["\n", "\na", "a\n", "a\r\n\n", "a\r\nb\nc\r\n"] {
            assert!(has_bare_line_feed(bad.as_bytes()), "{bad:?}");
        }
    }

    #[test]
    fn a_token_is_found_in_any_list_of_its_field() {
        let mut fields = Fields::default();
        for (value, then) in [("keep-alive", false), ("x", false), ("x , Close", true)] {
            fields.add(CONNECTION, HeaderValue::from_static(value));
            assert_eq!(closes(&fields), then, "{value}");
        }
        let says = |wanted| says(&fields, CONNECTION, wanted);
        assert!(says("close") && says("KEEP-alive") && says("x") && !says("clos") && !says(""));
    }

    #[test]
    fn only_digits_are_a_number() {
        assert_eq!(decimal(b"00000000000000000000000000005"), Some(5));
        for bad in ["", "+5", "-5", " 5", "5 ", "0x5", "5,5", "18446744073709551616", "\u{665}"] {
            assert_eq!(decimal(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
