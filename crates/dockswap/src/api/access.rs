//! Who asks: a user of this host, by the socket, or whoever has a token. What they may do follows from it; where that is
//! asked, `doors` says.

use super::code::Code;
use super::error::Problem;
use super::wire;
use crate::clock::wall_clock;
use crate::run::state::State;
use axum::Json;
use axum::extract::connect_info::Connected;
use axum::extract::{self, Extension};
use axum::http::{HeaderMap, header};
use axum::serve::IncomingStream;
use dockswap_core::grants::{Grants, Role};
use dockswap_core::token::{TokenId, TokenName, TokenText};
use dockswap_core::{AppName, Timestamp};
use dockswap_store::{Database, TokenRow};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fmt::{self, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq;
use tokio::net::UnixListener;
use tokio::sync::watch;

/// How often the use of a token is written down at most.
const USE_NOTED: Duration = Duration::from_secs(60);

/// How long the system may take to say what a user is called.
const LOOK_UP: Duration = Duration::from_secs(1);

/// How often a stream looks whether who follows it still may, without being told of a change.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Where a request comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A process of this host, over the socket, whose user the kernel names; `None`: it does not.
    Local(Option<u32>),
    /// Over the network.
    Remote(SocketAddr),
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(Some(uid)) => write!(f, "uid:{uid}"),
            Self::Local(None) => f.write_str("the socket"),
            Self::Remote(address) => write!(f, "{}", address.ip()),
        }
    }
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self::Local(stream.io().peer_cred().ok().map(|peer| peer.uid()))
    }
}

/// Who asks, and what they may do.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// In words: `uid:1000(ada)`, `token:ci`.
    pub(crate) actor: String,
    /// The token that they showed.
    pub(crate) token: Option<CallersToken>,
    /// From where, over the network.
    pub(crate) address: Option<SocketAddr>,
    /// From where in words, where `actor` does not say so: an address, or the user of this host who shows a token.
    pub(crate) via: Option<String>,
    /// What they may do.
    pub(crate) grants: Grants,
}

/// The token that a request shows.
#[derive(Clone, Debug)]
pub(crate) struct CallersToken {
    pub(crate) id: TokenId,
    pub(crate) name: TokenName,
    pub(crate) expires_at: Option<Timestamp>,
}

impl Caller {
    /// The role that they have on an app, by its project as it is now; `None`: it does not exist for them.
    pub(crate) fn role_on(&self, state: &State, app: &AppName) -> Option<Role> {
        let project = state.controller.view(app).and_then(|view| view.project);
        self.grants.on(project.as_ref())
    }

    /// Whether an app exists for them.
    pub(crate) fn sees(&self, state: &State, app: &AppName) -> bool {
        self.role_on(state, app).is_some()
    }

    /// Whether everything exists for them.
    pub(crate) fn sees_everything(&self) -> bool {
        self.grants.everywhere().is_some()
    }

    pub(super) fn must_be(&self, held: Option<Role>, needed: Role) -> Result<(), Problem> {
        if held >= Some(needed) { Ok(()) } else { Err(self.lacks(needed)) }
    }

    fn lacks(&self, needed: Role) -> Problem {
        let held = match self.grants.0.as_slice() {
            [] => "has no role any more".to_owned(),
            grants => {
                let grants: Vec<String> = grants.iter().map(ToString::to_string).collect();
                format!("is {}", grants.join(", "))
            }
        };
        let article = if matches!(needed, Role::Admin | Role::Owner) { "an" } else { "a" };
        let detail = format!(
            "this takes {article} {needed}, and {} {held}: ask an owner for a token with that role (on the \
             controller's host: `dockswap token create NAME --role {needed}`)",
            self.actor
        );
        Problem::new(Code::Forbidden, detail)
    }
}

/// Knows callers by what they show.
pub(crate) struct Porter {
    database: Arc<Database>,
    /// Counts what may have taken something away from somebody.
    changes: watch::Sender<u64>,
    /// When the use of a token was last written down.
    noted: Mutex<HashMap<TokenId, Instant>>,
    /// What users are called.
    users: Mutex<HashMap<u32, Option<String>>>,
}

impl Porter {
    pub(crate) fn new(database: Arc<Database>) -> Self {
        Self { database, changes: watch::Sender::new(0), noted: Mutex::default(), users: Mutex::default() }
    }

    /// Who asks. A request that shows a token is judged by it, wherever it comes from.
    ///
    /// # Errors
    /// 401, when they cannot be known.
    pub(crate) async fn caller(&self, peer: Option<Peer>, headers: &HeaderMap) -> Result<Caller, Problem> {
        let address = match &peer {
            Some(Peer::Remote(address)) => Some(*address),
            Some(Peer::Local(_)) | None => None,
        };
        let mut shown = headers.get_all(header::AUTHORIZATION).iter();
        match (shown.next(), shown.next(), &peer) {
            (Some(shown), None, _) => {
                let shown = shown.to_str().unwrap_or_default();
                let (scheme, text) = shown.split_once(' ').unwrap_or((shown, ""));
                if !scheme.eq_ignore_ascii_case("bearer") {
                    return Err(unknown_caller("write the token as `Authorization: Bearer dsw_…`"));
                }
                let row = self.judge(text.trim()).await?;
                let via = match &peer {
                    Some(Peer::Remote(address)) => Some(address.ip().to_string()),
                    Some(Peer::Local(Some(uid))) => Some(self.local(*uid).await),
                    Some(Peer::Local(None)) | None => None,
                };
                Ok(Caller {
                    via,
                    actor: format!("token:{}", row.name),
                    token: Some(CallersToken { id: row.id, name: row.name, expires_at: row.expires_at }),
                    address,
                    grants: row.grants,
                })
            }
            (Some(_), Some(_), _) => Err(unknown_caller("one token is enough: there are several here")),
            (None, _, Some(Peer::Local(Some(uid)))) => {
                let actor = self.local(*uid).await;
                Ok(Caller { actor, token: None, address, via: None, grants: Grants::all() })
            }
            (None, _, Some(Peer::Local(None)) | None) => {
                Err(unknown_caller("the kernel does not say whose process asks: show a token"))
            }
            (None, _, Some(Peer::Remote(_))) => Err(unknown_caller(
                "show a token, as `Authorization: Bearer dsw_…` (`dockswap token create` on the controller's host \
                 makes one)",
            )),
        }
    }

    /// The record of a token that is good.
    async fn judge(&self, text: &str) -> Result<TokenRow, Problem> {
        let token = TokenText::parse(text).map_err(|invalid| unknown_caller(&invalid.to_string()))?;
        let row = self.database.history().token(&token.id).await?;
        let shown = secret_sha(token.secret);
        // Also where there is no such token, so that it takes as long.
        let known = row.as_ref().map_or("", |row| row.secret_sha.as_str());
        let known = if known.is_empty() { "0".repeat(shown.len()) } else { known.to_owned() };
        let is_it = bool::from(shown.as_bytes().ct_eq(known.as_bytes()));
        let Some(row) = row.filter(|_| is_it) else {
            return Err(unknown_caller("this token is not known here"));
        };
        if row.revoked_at.is_some() {
            return Err(unknown_caller(&format!("the token {} was revoked", row.name)));
        }
        let now = wall_clock();
        if row.expires_at.is_some_and(|end| end <= now) {
            return Err(unknown_caller(&format!("the token {} has expired", row.name)));
        }
        self.note_use(&row, now);
        Ok(row)
    }

    /// Writes down that a token is in use, once in a while; the request does not wait for it.
    fn note_use(&self, row: &TokenRow, now: Timestamp) {
        {
            let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
            if noted.get(&row.id).is_some_and(|at| at.elapsed() < USE_NOTED) {
                return;
            }
            noted.insert(row.id.clone(), Instant::now());
        }
        let (database, id, name) = (self.database.clone(), row.id.clone(), row.name.clone());
        tokio::spawn(async move {
            if let Err(error) = database.note_token_use(&id, now).await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(token = %name, error, "that it was used is not on record");
            }
        });
    }

    /// A user of this host, in words.
    async fn local(&self, uid: u32) -> String {
        match self.user(uid).await {
            Some(name) => format!("uid:{uid}({name})"),
            None => format!("uid:{uid}"),
        }
    }

    /// What a user of this host is called, as the system says; asked once for each.
    async fn user(&self, uid: u32) -> Option<String> {
        if let Some(known) = self.users.lock().unwrap_or_else(PoisonError::into_inner).get(&uid) {
            return known.clone();
        }
        let asking = tokio::task::spawn_blocking(move || nix::unistd::User::from_uid(uid.into()));
        let asked = tokio::time::timeout(LOOK_UP, asking).await;
        let name = asked.ok().and_then(Result::ok).and_then(Result::ok).flatten().map(|user| user.name);
        self.users.lock().unwrap_or_else(PoisonError::into_inner).insert(uid, name.clone());
        name
    }

    /// Tells every stream to look whether who follows it still may.
    pub(crate) fn changed(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// What a caller may do by now; `None`: nothing, for their token is no good any more.
    async fn again(&self, caller: &Caller) -> Result<Option<Grants>, Problem> {
        let Some(token) = &caller.token else { return Ok(Some(caller.grants.clone())) };
        let row = self.database.history().token(&token.id).await?;
        let now = wall_clock();
        let good = |row: &TokenRow| row.revoked_at.is_none() && row.expires_at.is_none_or(|end| end > now);
        Ok(row.filter(good).map(|row| row.grants))
    }
}

/// Returns when `caller` may no longer follow what is told of `app` (`None`: of all that they may see), which may be
/// never: their token was revoked or has expired, its grants are others, or the app went to another project. Looks at
/// every change that it is told of, and every few seconds.
pub(super) async fn shut_out(state: Arc<State>, caller: Caller, app: Option<AppName>) {
    let mut changes = state.porter.changes.subscribe();
    loop {
        let expiry = caller.token.as_ref().and_then(|token| token.expires_at);
        let left = expiry.map_or(LOOK_AGAIN, |end| end.saturating_since(wall_clock()).min(LOOK_AGAIN));
        tokio::select! {
            news = changes.changed() => if news.is_err() { return },
            () = tokio::time::sleep(left) => {}
        }
        match state.porter.again(&caller).await {
            Ok(Some(grants)) if grants == caller.grants => {}
            // Whoever may do something else by now comes back as that.
            Ok(_) => return,
            // Whoever could not be asked about goes on for now: what is told comes from the same database.
            Err(_) => {}
        }
        if app.as_ref().is_some_and(|app| !caller.sees(&state, app)) {
            return;
        }
    }
}

/// The hash of a secret, as it is on record.
pub(super) fn secret_sha(secret: &str) -> String {
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(secret.as_bytes()) {
        // Writing into a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}
fn unknown_caller(detail: &str) -> Problem {
    Problem::new(Code::Unauthenticated, detail)
}

/// Who the caller is taken for.
pub(super) async fn whoami(
    extract::State(_): extract::State<Arc<State>>,
    Extension(caller): Extension<Caller>,
) -> Json<wire::WhoAmI> {
    Json(wire::WhoAmI {
        actor: caller.actor,
        token: caller.token.map(|token| wire::TokenMark {
            id: token.id,
            name: token.name,
            expires_at: token.expires_at.map(wire::Time),
        }),
        address: caller.address,
        grants: caller.grants,
    })
}
