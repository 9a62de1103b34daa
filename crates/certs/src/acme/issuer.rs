//! Asking an ACME server: the account, and one order after the other. It says why an order failed, and neither
//! repeats it nor waits.

use super::archive::Archive;
use super::{AcmeConfig, ChallengeKind, roots};
use crate::ring::Ring;
use dockswap_core::keyring::{Challenge, Pair};
use dockswap_core::ports::Secret;
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ChallengeType, Error, Identifier, NewAccount, NewOrder,
    Order, OrderStatus, Problem, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::timeout;

/// How long one order may take in all.
const PATIENCE: Duration = Duration::from_mins(5);

/// How long the server may take for one step of it.
const STEP: Duration = Duration::from_mins(2);

/// The longest text of a server's that is passed on.
const LONGEST: usize = 600;

/// Asks one ACME server.
pub(crate) struct Issuer {
    config: AcmeConfig,
    archive: Archive,
    ring: Arc<Ring>,
    account: Mutex<Option<Account>>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    email: Option<String>,
    credentials: AccountCredentials,
}

impl Issuer {
    pub(crate) fn new(config: AcmeConfig, archive: Archive, ring: Arc<Ring>) -> Self {
        Self { config, archive, ring, account: Mutex::default() }
    }

    /// Gets a certificate for `host`. To keep it is its caller's.
    ///
    /// # Errors
    /// Why there is none, in a sentence for people.
    pub(crate) async fn issue(&self, host: &str) -> Result<Pair, String> {
        let late = |_| Err(format!("the order took longer than {} minutes", PATIENCE.as_secs() / 60));
        timeout(PATIENCE, self.order(host)).await.unwrap_or_else(late)
    }

    async fn order(&self, host: &str) -> Result<Pair, String> {
        let identifiers = [Identifier::Dns(host.to_owned())];
        let wanted = NewOrder::new(&identifiers);
        let mut order = match self.account().await?.new_order(&wanted).await {
            Err(Error::Api(problem)) if is_unknown_account(&problem) => {
                tracing::warn!(problem = %said(&problem), "the ACME server does not know the account any more: a new one is made");
                self.archive.forget_account().map_err(|error| error.to_string())?;
                *self.account.lock().await = None;
                self.account().await?.new_order(&wanted).await
            }
            other => other,
        }
        .map_err(|error| self.refused("the order", &error))?;
        self.prove(&mut order, host).await?;
        let policy = RetryPolicy::new().timeout(STEP);
        let key = order.finalize().await.map_err(|error| self.refused("the request", &error))?;
        let chain = order.poll_certificate(&policy).await;
        let chain_pem = chain.map_err(|error| self.refused("the certificate", &error))?;
        Ok(Pair { chain_pem, key_pem: Secret::new(key) })
    }

    /// Shows that `host` is ours.
    async fn prove(&self, order: &mut Order, host: &str) -> Result<(), String> {
        // Answered until the server has decided.
        let mut offered = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization =
                authorization.map_err(|error| self.refused("the authorization", &error))?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let kind = self.choose(authorization.challenges.iter().map(|challenge| &challenge.r#type))?;
            let Some(mut challenge) = authorization.challenge(kind.clone()) else {
                return Err("the ACME server offers no challenge".to_owned());
            };
            let proof = challenge.key_authorization();
            let answer = if kind == ChallengeType::TlsAlpn01 {
                let pair = acme_pair(host, proof.digest().as_ref()).map_err(|error| error.to_string())?;
                Challenge::TlsAlpn01 { host: host.to_owned(), pair }
            } else {
                Challenge::Http01 { token: challenge.token.clone(), answer: proof.as_str().to_owned() }
            };
            let answered = self.ring.offer(answer).await;
            offered.push(answered.map_err(|error| format!("the proxy does not take the answer: {error}"))?);
            challenge.set_ready().await.map_err(|error| self.refused("the challenge", &error))?;
        }
        let policy = RetryPolicy::new().timeout(STEP);
        let outcome = order.poll_ready(&policy).await;
        let why = match outcome {
            Ok(OrderStatus::Ready | OrderStatus::Valid) => None,
            Ok(status) => Some(format!("the order is {status:?}")),
            Err(error) => Some(self.refused("the order", &error)),
        };
        let Some(why) = why else {
            return self.withdraw(offered).await;
        };
        let seen = self.seen(order).await;
        self.withdraw(offered).await?;
        Err(match seen {
            Some(seen) => format!("{host} could not be shown to be ours: {seen}"),
            None => why,
        })
    }

    /// Nobody asks any more.
    async fn withdraw(&self, offered: Vec<crate::ring::Offered>) -> Result<(), String> {
        drop(offered);
        if let Err(error) = self.ring.publish().await {
            tracing::debug!(%error, "an answered challenge stays until the proxy is reached");
        }
        Ok(())
    }

    /// What the server saw instead of what it wanted.
    async fn seen(&self, order: &mut Order) -> Option<String> {
        let mut authorizations = order.authorizations();
        while let Some(Ok(mut authorization)) = authorizations.next().await {
            let Ok(state) = authorization.refresh().await else { continue };
            let problem = state.challenges.iter().find_map(|challenge| challenge.error.as_ref());
            if let Some(problem) = problem {
                return Some(said(problem));
            }
        }
        None
    }

    /// The challenge that is configured, or the other one where the server does not offer it.
    fn choose<'a>(
        &self,
        mut offered: impl Iterator<Item = &'a ChallengeType> + Clone,
    ) -> Result<ChallengeType, String> {
        let (first, second) = match self.config.challenge {
            ChallengeKind::Http01 => (ChallengeType::Http01, ChallengeType::TlsAlpn01),
            ChallengeKind::TlsAlpn01 => (ChallengeType::TlsAlpn01, ChallengeType::Http01),
        };
        if offered.clone().any(|kind| *kind == first) {
            Ok(first)
        } else if offered.any(|kind| *kind == second) {
            Ok(second)
        } else {
            Err("the ACME server offers neither http-01 nor tls-alpn-01".to_owned())
        }
    }

    /// The account, found or made.
    async fn account(&self) -> Result<Account, String> {
        let mut account = self.account.lock().await;
        if let Some(account) = &*account {
            return Ok(account.clone());
        }
        let builder = match &self.config.ca_file {
            Some(file) => roots::client(file)
                .map(Account::builder_with_http)
                .map_err(|why| format!("acme.ca_file {}: {why}", file.display()))?,
            None => Account::builder().map_err(|error| format!("the system's root certificates: {error}"))?,
        };
        let contact: Vec<String> = self.config.email.iter().map(|email| format!("mailto:{email}")).collect();
        let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
        let failed = |error: &Error| self.refused("the account", error);
        let found = if let Some(kept) = self.archive.account::<Kept>() {
            let email = kept.email;
            let found = builder.from_credentials(kept.credentials).await.map_err(|error| failed(&error))?;
            if email != self.config.email {
                found.update_contacts(&contact).await.map_err(|error| failed(&error))?;
                if let Some(kept) = self.archive.account::<Kept>() {
                    self.keep(&Kept { email: self.config.email.clone(), ..kept })?;
                }
            }
            found
        } else {
            let wanted =
                NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
            let made = builder.create(&wanted, self.config.directory.clone(), None).await;
            let (made, credentials) = made.map_err(|error| failed(&error))?;
            self.keep(&Kept { email: self.config.email.clone(), credentials })?;
            tracing::info!(directory = self.config.directory, "a new ACME account");
            made
        };
        *account = Some(found.clone());
        Ok(found)
    }

    /// An account that cannot be kept is not used: each start would make another.
    fn keep(&self, kept: &Kept) -> Result<(), String> {
        self.archive.keep_account(kept).map_err(|error| format!("the ACME account cannot be kept: {error}"))
    }

    fn refused(&self, what: &str, error: &Error) -> String {
        let server = &self.config.directory;
        match error {
            Error::Api(problem) => format!("{server} refused {what}: {}", said(problem)),
            Error::Timeout(_) => format!("{server} did not decide on {what} in time"),
            other => {
                let mut text = other.to_string();
                let mut cause = std::error::Error::source(other);
                while let Some(next) = cause {
                    text = format!("{text}: {next}");
                    cause = next.source();
                }
                format!("{server} cannot be asked for {what}: {}", short(&text))
            }
        }
    }
}

/// A problem in the server's own words.
fn said(problem: &Problem) -> String {
    let kind = problem.r#type.as_deref().unwrap_or_default();
    let kind = kind.strip_prefix("urn:ietf:params:acme:error:").unwrap_or(kind);
    let detail = problem.detail.as_deref().unwrap_or("no reason given");
    short(&format!("{detail} ({kind})"))
}

/// A text from outside, as one line of bounded length.
fn short(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect();
    line.trim().to_owned()
}

fn is_unknown_account(problem: &Problem) -> bool {
    let kind = problem.r#type.as_deref().unwrap_or_default();
    kind.ends_with(":accountDoesNotExist")
}

/// What a server is shown in a handshake (RFC 8737, section 3).
fn acme_pair(host: &str, digest: &[u8]) -> Result<Pair, rcgen::Error> {
    let mut params = CertificateParams::new([host.to_owned()])?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok(Pair { chain_pem: certificate.pem(), key_pem: Secret::new(key.serialize_pem()) })
}
