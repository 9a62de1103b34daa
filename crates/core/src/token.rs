//! API tokens as texts: how one is written, read, and kept out of other texts. Making one takes randomness, and
//! telling whether it is a good one takes the records: neither is known here.
//!
//! `dsw_<id>_<secret>_<checksum>`: the id finds the record, the secret (43 digits to base 62, 256 bits) proves, and the
//! checksum (CRC-32 of what stands before it) tells a cut or mistyped token from a wrong one without the records.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// What every token begins with, so that people and scanners know one when they see it.
const PREFIX: &str = "dsw_";

/// The digits of an id, a secret and a checksum.
pub const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// How many digits an id has.
pub const ID_DIGITS: usize = 12;

/// How many digits a secret has: 62 to this power is more than 2 to the 256th.
pub const SECRET_DIGITS: usize = 43;

/// How many digits a checksum has.
const SUM_DIGITS: usize = 6;

/// From so many digits on, a mixed run of them is taken for a piece of a secret.
const TELLING: usize = 24;

/// What stands where a token, or a piece of one, stood.
const MASK: &str = "[masked]";

fn is_digits(text: &str, count: usize) -> bool {
    text.len() == count && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Which token: not secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenId(String);

impl TokenId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is no id of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the id of a token has {ID_DIGITS} letters and digits")]
pub struct InvalidTokenId;

impl TryFrom<String> for TokenId {
    type Error = InvalidTokenId;

    fn try_from(text: String) -> Result<Self, InvalidTokenId> {
        if is_digits(&text, ID_DIGITS) { Ok(Self(text)) } else { Err(InvalidTokenId) }
    }
}

impl FromStr for TokenId {
    type Err = InvalidTokenId;

    fn from_str(text: &str) -> Result<Self, InvalidTokenId> {
        Self::try_from(text.to_owned())
    }
}

impl From<TokenId> for String {
    fn from(id: TokenId) -> Self {
        id.0
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What people call a token: 1 to 64 letters, digits, `.`, `-`, `_` and `@`, beginning with a letter or digit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TokenName(String);

impl TokenName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is not a token's name. The text is not repeated: it may be a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTokenName {
    /// Characters or length.
    #[error(
        "a token's name has 1 to 64 letters, digits, `.`, `-`, `_` and `@`, and begins with a letter or digit: say whose \
         it is, as in ci-deploys"
    )]
    Form,
    /// It looks like a token.
    #[error("that looks like a token itself: a name is shown to everybody who lists tokens")]
    Token,
}

impl TryFrom<String> for TokenName {
    type Error = InvalidTokenName;

    fn try_from(text: String) -> Result<Self, InvalidTokenName> {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b".-_@".contains(&b);
        let bytes = text.as_bytes();
        let valid = (1..=64).contains(&bytes.len())
            && bytes.iter().all(|&b| inner(b))
            && bytes.first().is_some_and(u8::is_ascii_alphanumeric);
        if !valid {
            Err(InvalidTokenName::Form)
        } else if matches!(masked(&text), Cow::Owned(_)) {
            Err(InvalidTokenName::Token)
        } else {
            Ok(Self(text))
        }
    }
}

impl FromStr for TokenName {
    type Err = InvalidTokenName;

    fn from_str(text: &str) -> Result<Self, InvalidTokenName> {
        Self::try_from(text.to_owned())
    }
}

impl From<TokenName> for String {
    fn from(name: TokenName) -> Self {
        name.0
    }
}

impl fmt::Display for TokenName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no token. It is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidToken {
    /// It does not have the form of one.
    #[error("that is no token of dockswap's: one looks like dsw_…_…_…")]
    Form,
    /// The checksum is another one.
    #[error("that token is cut or mistyped: its checksum does not fit")]
    Checksum,
}

/// A whole token, taken apart. Its `Debug` hides the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenText<'a> {
    /// Which.
    pub id: TokenId,
    /// What proves it.
    pub secret: &'a str,
}

impl fmt::Debug for TokenText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenText").field("id", &self.id).finish_non_exhaustive()
    }
}

impl<'a> TokenText<'a> {
    /// Takes `text` apart.
    ///
    /// # Errors
    /// When it is none, or is cut or mistyped.
    pub fn parse(text: &'a str) -> Result<Self, InvalidToken> {
        let (body, sum) = text.rsplit_once('_').ok_or(InvalidToken::Form)?;
        let parts = body.strip_prefix(PREFIX).and_then(|rest| rest.split_once('_'));
        let (id, secret) = parts.ok_or(InvalidToken::Form)?;
        let known = |_| if text.starts_with(PREFIX) { InvalidToken::Checksum } else { InvalidToken::Form };
        let id: TokenId = id.parse().map_err(known)?;
        if !is_digits(secret, SECRET_DIGITS) || sum != checksum(body) {
            return Err(InvalidToken::Checksum);
        }
        Ok(Self { id, secret })
    }

    /// The token as it is handed over, once. Whoever asks keeps it from everybody else.
    #[must_use]
    pub fn write(&self) -> String {
        let body = format!("{PREFIX}{}_{}", self.id, self.secret);
        let sum = checksum(&body);
        format!("{body}_{sum}")
    }
}

fn checksum(body: &str) -> String {
    let mut rest = crc32fast::hash(body.as_bytes());
    let mut digits = ['0'; SUM_DIGITS];
    for digit in digits.iter_mut().rev() {
        *digit = char::from(DIGITS[(rest % 62) as usize]);
        rest /= 62;
    }
    digits.iter().collect()
}

/// `text` without what is, or may be a piece of, a token: everything from `dsw_` on to the end of the word, and every
/// long word of mixed letters and digits. Hashes in hex are left. What was not changed is borrowed.
#[must_use]
pub fn masked(text: &str) -> Cow<'_, str> {
    let is_inner = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut out = String::new();
    let mut kept = 0;
    let mut at = 0;
    while at < text.len() {
        let word_len = text[at..].find(|c: char| !is_inner(c)).unwrap_or(text.len() - at);
        let word = &text[at..at + word_len];
        if let Some((from, to)) = secret_in(word) {
            out.push_str(&text[kept..at + from]);
            out.push_str(MASK);
            kept = at + to;
            at = kept;
        } else {
            at += word_len + text[at + word_len..].chars().next().map_or(0, char::len_utf8);
        }
    }
    if kept == 0 { Cow::Borrowed(text) } else { Cow::Owned(out + &text[kept..]) }
}

/// Where a token, or what may be a piece of one, stands in a word of digits and underscores.
fn secret_in(word: &str) -> Option<(usize, usize)> {
    if let Some(at) = word.to_ascii_lowercase().find(PREFIX) {
        return Some((at, word.len()));
    }
    let mut from = 0;
    for run in word.split('_') {
        let has = |kind: fn(&u8) -> bool| run.bytes().any(|byte| kind(&byte));
        let mixed = has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit);
        if run.len() >= TELLING && mixed {
            return Some((from, from + run.len()));
        }
        from += run.len() + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{InvalidToken, TokenName, TokenText, masked};
    use std::borrow::Cow;

    const SECRET: &str = "0aB1cD2eF3gH4iJ5kL6mN7oP8qR9sT0uV1wX2yZ3aB4";

    fn token() -> String {
        TokenText { id: "Ab1Cd2Ef3Gh4".parse().expect("an id"), secret: SECRET }.write()
    }

    #[test]
    fn a_token_is_read_as_it_was_written() {
        let text = token();
        let read = TokenText::parse(&text).expect("a token");
        assert_eq!((read.id.as_str(), read.secret), ("Ab1Cd2Ef3Gh4", SECRET));
        assert!(!format!("{read:?}").contains(SECRET));
        assert_eq!(text.len(), "dsw_".len() + 12 + 1 + 43 + 1 + 6);
    }

    #[test]
    fn every_cut_and_every_other_letter_is_found_out() {
        let text = token();
        for length in 0..text.len() {
            assert!(TokenText::parse(&text[..length]).is_err(), "{length}");
        }
        for at in 0..text.len() {
            let other = if text.as_bytes()[at] == b'x' { "y" } else { "x" };
            let mistyped = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            assert!(TokenText::parse(&mistyped).is_err(), "{mistyped}");
        }
        assert_eq!(TokenText::parse("ghp_abc_def_1"), Err(InvalidToken::Form));
        assert_eq!(TokenText::parse(&text[..text.len() - 1]), Err(InvalidToken::Checksum));
    }

    #[test]
    fn no_piece_of_a_token_is_left_in_a_text() {
        let text = token();
        let tail = &text[text.len() - 40..];
        for (with, without) in [
            (format!("/v1/apps/{text}?x"), "/v1/apps/[masked]?x".to_owned()),
            (format!("é {text}, and {text}"), "é [masked], and [masked]".to_owned()),
            ("cut: dsw_Ab1".to_owned(), "cut: [masked]".to_owned()),
            (format!("x={tail}!"), "x=[masked]_".to_owned() + &text[text.len() - 6..] + "!"),
            (format!("/{}", text.replace('_', "%5F")), String::new()),
            (text.to_uppercase(), "[masked]".to_owned()),
        ] {
            let masked = masked(&with);
            assert!(!masked.contains(SECRET) && !masked.contains(&SECRET[20..]), "{masked}");
            if !without.is_empty() {
                assert_eq!(masked, without);
            }
        }
    }

    #[test]
    fn other_texts_stay_as_they_are() {
        let sha = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        for text in ["", "web", "app:v1 @ é", "snake_case_words_of_any_length_and_1_digit", sha] {
            assert!(matches!(masked(text), Cow::Borrowed(_)), "{text}");
        }
    }

    #[test]
    fn a_token_is_no_name() {
        for name in ["ci", "CI.deploys-2_x@host", &"a".repeat(64)] {
            assert!(name.parse::<TokenName>().is_ok(), "{name}");
        }
        for name in ["", "-ci", "a b", "é", &"a".repeat(65), &token(), "my-dsw_x"] {
            let refused = name.parse::<TokenName>().expect_err(name);
            assert!(name.is_empty() || !refused.to_string().contains(SECRET));
        }
    }
}
