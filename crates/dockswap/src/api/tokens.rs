//! Tokens: made, listed, revoked. A token itself is in one answer, and nowhere else.

use super::access::{Caller, secret_sha};
use super::code::Code;
use super::error::Problem;
use super::orders::Order;
use super::query::{Asked, Part};
use super::records::Listed;
use super::segment::Segment;
use super::wire;
use crate::clock::wall_clock;
use crate::run::state::State;
use axum::Json;
use axum::extract::{self, Extension};
use axum::http::header::{CACHE_CONTROL, HeaderName};
use axum::http::{StatusCode, Uri};
use dockswap_controller::Signature;
use dockswap_core::audit::AuditRecord;
use dockswap_core::grants::Grants;
use dockswap_core::records::StoreError;
use dockswap_core::token::{DIGITS, ID_DIGITS, SECRET_DIGITS, TokenId, TokenName, TokenText};
use dockswap_store::{TokenOutcome, TokenRow};
use std::sync::Arc;
use zeroize::Zeroizing;

/// The most grants of one token.
const MOST_GRANTS: usize = 64;

pub(super) async fn list(
    extract::State(state): extract::State<Arc<State>>,
    Asked(part): Asked<Part>,
    uri: Uri,
) -> Listed<wire::Tokens> {
    let mut rows = state.database.history().tokens(part.to_read()).await?;
    let next = part.cut(&mut rows, &uri);
    let now = wall_clock();
    Ok((next, Json(wire::Tokens { tokens: rows.into_iter().map(|row| wire::Token::of(row, now)).collect() })))
}

pub(super) async fn create(
    extract::State(state): extract::State<Arc<State>>,
    Extension(caller): Extension<Caller>,
    Extension(signature): Extension<Signature>,
    order: Order<wire::TokenOrder>,
) -> Result<(StatusCode, [(HeaderName, &'static str); 1], Json<wire::NewToken>), Problem> {
    let Json(wire::TokenOrder { name, grants, expires_in }) = order?;
    let name: TokenName = name.parse().map_err(|invalid| invalid_token(format!("{invalid}")))?;
    if grants.is_empty() || grants.len() > MOST_GRANTS {
        return Err(invalid_token(format!("a token has 1 to {MOST_GRANTS} grants")));
    }
    signature.about(format!("token/{name}"));
    signature.note("grants", Grants(grants.clone()).0.iter().map(ToString::to_string).collect::<Vec<_>>());
    let now = wall_clock();
    if expires_in.is_some_and(|after| after.is_zero()) {
        return Err(invalid_token("a token that expires at once is good for nothing"));
    }
    let secret = random_digits(SECRET_DIGITS)?;
    let id = random_digits(ID_DIGITS)?;
    let id: TokenId = id.as_str().parse().map_err(|_| no_randomness("too few digits"))?;
    let row = TokenRow {
        id: id.clone(),
        name,
        secret_sha: secret_sha(&secret),
        grants: Grants(grants),
        created_by: caller.actor,
        created_at: now,
        expires_at: expires_in.map(|after| now + after),
        last_used_at: None,
        revoked_by: None,
        revoked_at: None,
    };
    signature.note("id", id.as_str());
    let audit = signature.take();
    let outcome = state.database.create_token(row.clone(), audit.clone().map(wire::done)).await;
    put_back(&signature, &outcome, audit);
    match outcome? {
        TokenOutcome::Done => {}
        TokenOutcome::NameTaken | TokenOutcome::Absent => {
            let detail =
                format!("there is a token {} already: revoke it first, or choose another name", row.name);
            return Err(Problem::new(Code::NameTaken, detail));
        }
    }
    let token = TokenText { id, secret: &secret }.write();
    let answer = wire::NewToken { token, about: wire::Token::of(row, now) };
    Ok((StatusCode::CREATED, [(CACHE_CONTROL, "no-store")], Json(answer)))
}

pub(super) async fn revoke(
    extract::State(state): extract::State<Arc<State>>,
    Extension(caller): Extension<Caller>,
    Extension(signature): Extension<Signature>,
    Segment(which): Segment,
) -> Result<Json<wire::Token>, Problem> {
    let unknown = || Problem::new(Code::UnknownToken, "there is no such token that is not revoked yet");
    let history = state.database.history();
    let by_id = match which.parse::<TokenId>() {
        Ok(id) => history.token(&id).await?,
        Err(_) => None,
    };
    let found = match (by_id, which.parse::<TokenName>()) {
        (Some(row), _) => Some(row),
        (None, Ok(name)) => history.token_named(&name).await?,
        (None, Err(_)) => None,
    };
    let row = found.filter(|row| row.revoked_at.is_none()).ok_or_else(unknown)?;
    signature.about(format!("token/{}", row.name));
    signature.note("id", row.id.as_str());
    let now = wall_clock();
    let audit = signature.take();
    let outcome =
        state.database.revoke_token(&row.id, &caller.actor, now, audit.clone().map(wire::done)).await;
    put_back(&signature, &outcome, audit);
    if outcome? != TokenOutcome::Done {
        return Err(unknown());
    }
    state.porter.changed();
    let row = TokenRow { revoked_by: Some(caller.actor), revoked_at: Some(now), ..row };
    Ok(Json(wire::Token::of(row, now)))
}

/// What was not written is not on record.
fn put_back(signature: &Signature, outcome: &Result<TokenOutcome, StoreError>, audit: Option<AuditRecord>) {
    if let (false, Some(audit)) = (matches!(outcome, Ok(TokenOutcome::Done)), audit) {
        signature.put_back(audit);
    }
}

/// So many digits that nobody can guess, each as likely as every other.
pub(super) fn random_digits(count: usize) -> Result<Zeroizing<String>, Problem> {
    let mut digits = Zeroizing::new(String::with_capacity(count));
    let mut bytes = Zeroizing::new([0_u8; 64]);
    while digits.len() < count {
        getrandom::fill(bytes.as_mut()).map_err(|error| no_randomness(&error.to_string()))?;
        // 248 is 4 times 62: what lies above would make the first digits likelier.
        let fair = bytes.iter().filter(|byte| **byte < 248);
        let missing = count - digits.len();
        digits.extend(fair.take(missing).map(|byte| char::from(DIGITS[usize::from(byte % 62)])));
    }
    Ok(digits)
}

fn no_randomness(error: &str) -> Problem {
    let detail = format!("the system gives no random numbers: {error}");
    Problem::new(Code::NoRandomness, detail)
}

fn invalid_token(detail: impl Into<String>) -> Problem {
    Problem::new(Code::InvalidToken, detail)
}

#[cfg(test)]
mod tests {
    use super::random_digits;
    use std::collections::BTreeSet;

    #[test]
    fn random_digits_are_of_62_kinds_and_never_the_same() {
        let texts: BTreeSet<String> =
            (0..200).map(|_| random_digits(43).expect("randomness").to_string()).collect();
        assert_eq!(texts.len(), 200);
        assert!(texts.iter().all(|text| text.len() == 43));
        let digits: BTreeSet<char> = texts.iter().flat_map(|text| text.chars()).collect();
        assert_eq!(digits.len(), 62);
    }
}
