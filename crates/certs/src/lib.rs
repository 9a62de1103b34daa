//! Certificates: read from files, or got by ACME, and handed to whoever speaks TLS. Knows neither app files nor the
//! proxy; what a certificate is for it is told.

mod acme;
mod custodian;
mod examination;
mod presented;
mod reads;
mod ring;
mod slot;
mod view;
mod wanted;

pub use acme::{AcmeConfig, ChallengeKind};
pub use custodian::Custodian;
pub use presented::{PresentError, Presented};
pub use view::CertificateView;
pub use wanted::{CertificateFiles, CustodianConfig, Wanted};
