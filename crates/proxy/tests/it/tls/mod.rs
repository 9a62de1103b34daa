//! HTTPS, as browsers and other clients meet it.

mod acme;
mod authority;
mod bounds;
mod meaning;
mod names;
mod switching;
