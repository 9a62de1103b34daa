//! The proxy as the holder of certificates: apart from its routes, for another task brings them.

use super::RouterError;
use crate::keyring::Keyring;
use async_trait::async_trait;

/// Who speaks TLS with clients.
#[async_trait]
pub trait Keyholder: Send + Sync {
    /// Puts `keyring` in force, in place of the one before. When this returns, every handshake that begins later
    /// goes by it; connections that are open stay. What of it cannot be used is left out, and logged there.
    /// The same again is no error.
    ///
    /// # Errors
    /// When it is not in force, or it is not known whether it is.
    async fn hold(&self, keyring: &Keyring) -> Result<(), RouterError>;

    /// The tag of the keyring in force; empty: there is none.
    ///
    /// # Errors
    /// When it does not answer.
    async fn held(&self) -> Result<String, RouterError>;
}
